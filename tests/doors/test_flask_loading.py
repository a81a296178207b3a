"""What ``-A`` names in a Flask project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from lavoro import Lavoro
from lavoro.discovery import ambiguity, find_app
from lavoro.exceptions import ImproperlyConfigured
from lavoro.ext.flask import FlaskLavoro
from lavoro.runtime import current_app
from tests.doors.flask_sites import Site, site_in

FACTORY = """
    from flask import Flask, current_app, g, request, session
    import lavoro as library
    from lavoro import current_app as current_lavoro
    from lavoro.ext.flask import FlaskLavoro

    lavoro = FlaskLavoro()
    made = []

    def create_app(name="default", *, debug=False):
        app = Flask(__name__)
        app.config.update(NAME=name, DEBUG=debug, LAVORO={"task_default_queue": name})
        lavoro.init_app(app)
        made.append(app)
        return app

    def make_plain():
        return Flask(__name__)

    class Holder:
        create = staticmethod(create_app)
    """


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A project without a database."""
    with site_in(tmp_path, "postgresql://nowhere.invalid/none", monkeypatch) as site:
        yield site


def flask_app_of(app: Lavoro) -> Flask:
    """The Flask application that a worker of this application serves."""
    assert isinstance(app, FlaskLavoro)
    assert app.flask_app is not None
    return app.flask_app


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shop", ("default", False)),
        ("shop:create_app", ("default", False)),
        ("shop:create_app()", ("default", False)),
        ("shop:create_app('live')", ("live", False)),
        ('shop: create_app("live:1", debug=True) ', ("live:1", True)),
        ("shop:Holder.create('held')", ("held", False)),
        ("shop/__init__.py", ("default", False)),
        ("shop/__init__.py:create_app('file')", ("file", False)),
        ("./shop", ("default", False)),
    ],
)
def test_a_factory_is_found_and_called_once(
    site: Site, name: str, expected: tuple[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write({"shop/__init__.py": FACTORY})
    monkeypatch.chdir(site.folder)

    app = find_app(name)

    flask_app = flask_app_of(app)
    assert (flask_app.config["NAME"], flask_app.debug) == expected
    assert app.conf.task_default_queue == expected[0]
    assert site.load("shop").made == [flask_app]


def test_make_app_is_a_factory_too(site: Site) -> None:
    site.write({"shop.py": FACTORY.replace("create_app", "make_app")})
    assert flask_app_of(find_app("shop")).config["NAME"] == "default"


def test_a_flask_application_among_the_variables_goes_before_a_factory(site: Site) -> None:
    site.write({"shop.py": FACTORY, "wsgi.py": "from shop import create_app\napplication = create_app('wsgi')\n"})
    assert flask_app_of(find_app("wsgi")).config["NAME"] == "wsgi"


def test_a_file_elsewhere_keeps_the_name_of_its_module(site: Site) -> None:
    site.write({"shop/web/site.py": FACTORY})
    folder = site.folder / "shop" / "web"
    assert flask_app_of(find_app(f"{folder}/site.py:create_app('far')")).import_name == "shop.web.site"


def test_one_extension_serves_the_application_that_was_named(site: Site) -> None:
    site.write({"shop.py": FACTORY, "two.py": "from shop import create_app\nfirst, second = map(create_app, 'ab')\n"})
    assert flask_app_of(find_app("two:first")).config["NAME"] == "a"
    assert find_app("two:first").conf.task_default_queue == "a"
    assert find_app("two:second").conf.task_default_queue == "b"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("shop:make_plain", "Flask without Lavoro: call lavoro.init_app"),
        ("shop:lavoro", "waiting for its init_app"),
        ("shop:made", "list, not a Lavoro application"),
        ("shop:nothing()", "module 'shop' has no 'nothing'"),
        ("shop:create_app(1, 2)", r"cannot be called like this \(too many positional arguments\)"),
        ("shop:create_app(made)", "must be literals"),
        ("shop:create_app(", "neither a name nor the call of a function"),
        ("tasks", "waits for its init_app"),
        ("nowhere.py", "no module 'nowhere'"),
        ("needy", r"needy:create_app cannot be called like this \(missing a required argument: 'place'\): -A \"needy"),
    ],
)
def test_what_cannot_be_found_says_what_to_do(site: Site, name: str, words: str) -> None:
    needy = "def create_app(place): ...\n"
    site.write({"shop.py": FACTORY, "tasks.py": "from shop import lavoro\n", "needy.py": needy})
    with pytest.raises(ImproperlyConfigured, match=words):
        find_app(name)


def test_an_error_inside_the_factory_passes_through(site: Site) -> None:
    site.write({"shop.py": "def create_app():\n    return len(5)\n"})
    with pytest.raises(TypeError, match="has no len"):
        find_app("shop")


def test_looking_for_an_application_makes_none(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_app, "_default", None)
    monkeypatch.setattr(current_app._local, "app", None, raising=False)
    site.write({"empty.py": "from lavoro import current_app, current_task\nfrom flask import request\n"})
    with pytest.raises(ImproperlyConfigured, match="has no Lavoro application"):
        find_app("empty")
    assert current_app.get_existing() is None


@pytest.mark.parametrize(
    ("code", "others"),
    [
        ("app = Flask('a')\nlavoro = FlaskLavoro(app)", None),  # one, by two names
        ("app = Flask('a')\ncelery = Lavoro('a')\napp.extensions['celery'] = celery", None),
        ("app = Flask('a')\nFlaskLavoro(app)\nagain = app", None),
        (
            "lavoro = FlaskLavoro()\napp, small = Flask('a'), Flask('b')\nlavoro.init_app(app)\nlavoro.init_app(small)",
            "small",
        ),
        ("app = Flask('a')\nFlaskLavoro(app)\nlater = Lavoro('b')\nlast = Lavoro('c')", "later (or last)"),
    ],
)
def test_a_second_application_in_the_module_is_told(site: Site, code: str, others: str | None) -> None:
    site.write({"twofold.py": ""})
    Path(site.folder, "twofold.py").write_text(
        f"from flask import Flask\nfrom lavoro import Lavoro\nfrom lavoro.ext.flask import FlaskLavoro\n{code}\n"
    )
    app = find_app("twofold")
    told = ambiguity("twofold", app)
    expected = f"twofold has more than one application: app is taken; choose with -A twofold:{others}"
    assert told == (others and expected)
    assert ambiguity("twofold:app", app) is None
    file = f"{site.folder}/twofold.py"
    assert ambiguity(file, app) == (told and told.replace("twofold", file))
