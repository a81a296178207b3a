"""Finding the application of `-A`, and the modules of its tasks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lavoro import Lavoro
from lavoro.discovery import find_app
from lavoro.exceptions import ImproperlyConfigured


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that modules are imported from; what came from it is forgotten."""
    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)
    monkeypatch.setattr(sys, "modules", sys.modules)
    yield tmp_path  # type: ignore[misc]
    for name in set(sys.modules) - known:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


APP = "from lavoro import Lavoro\n{} = Lavoro('{}')\n"
FLASK = """
from flask import Flask, current_app, request
from lavoro.ext.flask import FlaskLavoro
web = Flask("web")
web.config["LAVORO"] = {"broker_url": "postgresql://x/y"}
FlaskLavoro().init_app(web)
def create_app(kind="plain"):
    made = Flask(kind)
    FlaskLavoro("made", **{}).init_app(made) if False else FlaskLavoro().init_app(made)
    return made
"""


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("name", "main"),
    [
        ("m_app", "app"),
        ("m_app:other", "other"),
        ("m_app.other", "other"),
        ("m_celery", "celery"),
        ("m_variable", "variable"),
        ("m_app:holder.inner", "inner"),
        ("m_package", "in-package"),
        ("m_package.deep:app", "deep"),
        ("m_proxy:current_app", "behind"),
        ("m_proxy:lazy", "behind"),
        ("m_lazy", "lazy"),
        ("m_flask:web", None),
        ("m_flask", None),
        ("m_flask:create_app('x')", None),
    ],
)
def test_application_is_found(folder: Path, name: str, main: str | None) -> None:
    _write(folder, {
        "m_app.py": APP.format("app", "app") + APP.format("other", "other")
        + "class holder:\n    inner = Lavoro('inner')\n",
        "m_celery.py": APP.format("zzz", "zzz") + APP.format("celery", "celery"),
        "m_variable.py": "from lavoro import current_app\n" + APP.format("variable", "variable"),
        "m_proxy.py": "from lavoro import current_app\nfrom werkzeug.local import LocalProxy\n"
        + APP.format("_", "behind") + "other = Lavoro('other')\nlazy = LocalProxy(lambda: _)\n_.set_current()\n",
        "m_lazy.py": "from werkzeug.local import LocalProxy\n" + APP.format("_", "lazy")
        + "other = Lavoro('other')\napp = LocalProxy(lambda: _)\n",
        "m_package/__init__.py": "",
        "m_package/celery.py": APP.format("app", "in-package"),
        "m_package/deep.py": APP.format("app", "deep"),
        "m_flask.py": FLASK,
    })  # fmt: skip
    found = find_app(name)
    assert isinstance(found, Lavoro)
    assert main is None or found.main == main


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m_missing", "no module 'm_missing'"),
        ("m_empty", "no Lavoro application; name it: -A m_empty:variable"),
        ("m_empty:nothing", "has no 'nothing'"),
        ("m_empty:number", "int"),
        ("m_empty:1 +", "neither a name nor the call of a function"),
    ],
)
def test_application_is_not_found(folder: Path, name: str, message: str) -> None:
    _write(folder, {"m_empty.py": "number = 1\n"})
    with pytest.raises(ImproperlyConfigured, match=message.replace("+", r"\+")):
        find_app(name)


def test_errors_inside_the_module_come_through(folder: Path) -> None:
    _write(folder, {"m_broken.py": "import m_not_there\n", "m_wrong.py": "1 / 0\n"})
    with pytest.raises(ModuleNotFoundError, match="m_not_there"):
        find_app("m_broken")
    with pytest.raises(ZeroDivisionError):
        find_app("m_wrong")


def test_tasks_are_discovered_when_the_worker_starts(folder: Path) -> None:
    task = "from lavoro import current_app\n@current_app.task\ndef f(): ...\n"
    _write(folder, {
        "d_one/__init__.py": "", "d_one/tasks.py": task, "d_two.py": "", "d_bare/__init__.py": "",
        "d_included.py": task, "d_broken/__init__.py": "", "d_broken/tasks.py": "import m_not_there\n",
    })  # fmt: skip
    app = Lavoro("shop", include=["d_included"])
    app.autodiscover_tasks(lambda: ["d_one", "d_two", "d_bare"])
    assert "d_one.tasks.f" not in app.tasks
    app.import_modules()
    assert {"d_one.tasks.f", "d_included.f"} <= set(app.tasks)
    with pytest.raises(ModuleNotFoundError, match="m_not_there"):
        app.autodiscover_tasks(["d_broken"], force=True)
    with pytest.raises(ModuleNotFoundError, match="d_missing"):
        app.autodiscover_tasks(["d_missing"], force=True)


def test_class_among_packages_stands_for_the_package_around_its_module(folder: Path) -> None:
    task = "from lavoro import shared_task\n@shared_task\ndef f(): ...\n"
    _write(folder, {"d_django/__init__.py": "", "d_django/apps.py": "class Shop: ...\n", "d_django/tasks.py": task})
    app = Lavoro("shop")
    app.autodiscover_tasks(["d_django.Shop", "d_django.apps.Shop"], force=True)
    assert "d_django.tasks.f" in app.tasks
    with pytest.raises(ModuleNotFoundError, match="d_django.Shop"):
        app.autodiscover_tasks(["d_django.Shop"], related_name=None, force=True)
