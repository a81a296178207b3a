"""`app.discover`, the setting `lavoro_discover`, and the modules that are found by their names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lavoro import Lavoro
from lavoro.exceptions import ImproperlyConfigured
from lavoro.ext.flask import FlaskLavoro

NOTE = "import notes; notes.imported.append(__name__)\n"
TASK = NOTE + "from lavoro import shared_task\n@shared_task\ndef {}(): ...\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that modules are imported from, with a module that lists the others; all are forgotten."""
    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)
    write(tmp_path, {"notes.py": "imported = []\n"})
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files; their folders become packages."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for parent in path.relative_to(folder).parents[:-1]:
            (folder / parent / "__init__.py").touch()
        path.write_text(text)


def imported() -> list[str]:
    return sys.modules["notes"].imported  # type: ignore[no-any-return]


SHOP = {
    "shop/__init__.py": "",
    "shop/web.py": "raise RuntimeError('no module of a name that is discovered')",
    "shop/domain/tasks.py": TASK.format("sweep"),
    "shop/domain/orders/tasks.py": TASK.format("pack"),
    "shop/domain/orders/startup.py": NOTE,
    "shop/domain/orders/shutdown.py": NOTE,
    "shop/domain/orders/scheduled.py": NOTE,
    "shop/domain/orders/other.py": "raise RuntimeError('neither this one')",
    "shop/domain/mail/tasks/__init__.py": TASK.format("post"),
    "shop/domain/mail/tasks/scheduled.py": "raise RuntimeError('a package of that name decides itself')",
    "shop/domain/mail/letters/startup.py": NOTE,
    "shop/domain/empty/models.py": "raise RuntimeError('nor this one')",
}
FOUND = [
    "shop.domain.mail.letters.startup",
    "shop.domain.mail.tasks",
    "shop.domain.orders.scheduled",
    "shop.domain.orders.shutdown",
    "shop.domain.orders.startup",
    "shop.domain.orders.tasks",
    "shop.domain.tasks",
]


def by_method() -> Lavoro:
    app = Lavoro("shop", set_as_current=False)
    app.discover("shop.domain")
    return app


def by_argument() -> Lavoro:
    return Lavoro("shop", discover="shop.domain", set_as_current=False)


def by_setting() -> Lavoro:
    app = Lavoro("shop", set_as_current=False)
    app.conf.lavoro_discover = ["shop.domain"]
    return app


def by_configuration() -> Lavoro:
    app = Lavoro("shop", set_as_current=False)
    app.config_from_object({"lavoro_discover": ("shop.domain.orders", "shop.domain")})
    return app


@pytest.mark.parametrize("made", [by_method, by_argument, by_setting])
def test_modules_are_found_by_their_names_and_imported_in_order(folder: Path, made: object) -> None:
    write(folder, SHOP)
    app = made()  # type: ignore[operator]
    assert "notes" not in sys.modules  # nothing is imported before the worker asks for it
    app.import_modules()
    assert imported() == FOUND
    assert "shop.domain.empty" not in sys.modules
    app.import_modules()
    assert imported() == FOUND
    assert {"shop.domain.orders.tasks.pack", "shop.domain.mail.tasks.post"} <= app.tasks.keys()


def test_packages_are_searched_in_the_order_in_which_they_are_named(folder: Path) -> None:
    write(folder, SHOP)
    by_configuration().import_modules()
    orders = [name for name in FOUND if name.startswith("shop.domain.orders.")]
    assert imported() == [*orders, *(name for name in FOUND if name not in orders)]


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({"orders/tasks.py": "1 / 0\n"}, r"tasks cannot be imported: ZeroDivisionError: .*/tasks\.py, line 1\)"),
        (
            {"orders/startup.py": "\nimport json\njson.loads('{')\n"},
            r"shop\.orders\.startup cannot be imported: json\..*JSONDecodeError: .*orders/startup\.py, line 3\)",
        ),
        ({"orders/scheduled.py": "x = (\n"}, r"orders\.scheduled cannot be .*SyntaxError: .*/scheduled\.py, line 1\)"),
        (
            {"orders/shutdown.py": "import no_such_module\n"},
            r"shop\.orders\.shutdown cannot be .*'no_such_module' \(.*orders/shutdown\.py, line 1\)",
        ),
        (
            {"orders/tasks.py": "from shop.orders import helper\n", "orders/helper.py": "\n\n{}['key']\n"},
            r"shop\.orders\.tasks cannot be imported: KeyError: 'key' \(.*orders/helper\.py, line 3\)",
        ),
    ],
)  # fmt: skip
def test_an_error_inside_of_a_module_names_the_file_and_the_line(
    folder: Path, files: dict[str, str], error: str
) -> None:
    write(folder, {f"shop/{name}": text for name, text in files.items()})
    with pytest.raises(ImproperlyConfigured, match=error):
        Lavoro("shop", discover="shop", set_as_current=False).import_modules()


@pytest.mark.parametrize(
    ("named", "error"),
    [
        ("shop.none", r"there is no package 'shop\.none' to discover \(app\.discover\(\), the setting lavoro_d"),
        ("nowhere.at.all", r"there is no package 'nowhere\.at\.all' to discover"),
        ("shop.web", r"'shop\.web' is a module, and only a package can be discovered: .* 'shop'"),
        ("shop.broken", r"shop\.broken cannot be imported: ValueError: no \(.*shop/broken/__init__\.py, line 2\)"),
    ],
)
def test_a_package_that_cannot_be_used(folder: Path, named: str, error: str) -> None:
    write(folder, {"shop/web.py": "", "shop/broken/tasks.py": ""})
    (folder / "shop/broken/__init__.py").write_text("\nraise ValueError('no')\n")
    with pytest.raises(ImproperlyConfigured, match=error):
        Lavoro("shop", discover=named, set_as_current=False).import_modules()


def test_a_package_is_given_by_its_name() -> None:
    with pytest.raises(TypeError, match=r"a package to discover is given by its name, not as \['shop'\]"):
        Lavoro("shop", set_as_current=False).discover(["shop"])  # type: ignore[arg-type]


def test_a_setting_that_names_no_packages_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="lavoro_discover"):
        Lavoro("shop", discover=5, set_as_current=False).conf.check()  # type: ignore[arg-type]


# Entries of periodic tasks

ENTRY = "schedule = {{{!r}: {{'task': 'shop.orders.tasks.pack', 'schedule': 30.0}}}}\n"


def test_entries_of_scheduled_modules_join_the_setting(folder: Path) -> None:
    write(
        folder,
        {
            "shop/orders/scheduled.py": ENTRY.format("pack"),
            "shop/mail/scheduled/__init__.py": ENTRY.format("post"),
            "shop/notes/scheduled.py": "from lavoro.schedules import schedule\n",
        },
    )
    app = Lavoro("shop", discover="shop", set_as_current=False)
    app.conf.beat_schedule = {"own": {"task": "x", "schedule": 1.0}}
    for _ in range(2):  # a second import adds nothing twice
        app.import_modules()
        assert sorted(app.conf.beat_schedule) == ["own", "pack", "post"]
    assert app.conf.beat_schedule["pack"] == {"task": "shop.orders.tasks.pack", "schedule": 30.0}


@pytest.mark.parametrize("first", ["setting", "module"])
def test_two_entries_of_one_name_are_refused_with_both_places(folder: Path, first: str) -> None:
    app = Lavoro("shop", discover="shop", set_as_current=False)
    write(folder, {"shop/orders/scheduled.py": ENTRY.format("pack")})
    if first == "setting":
        app.conf.beat_schedule = {"pack": {"task": "x", "schedule": 1.0}}
        places = r"the setting beat_schedule.* the other in shop\.orders\.scheduled \(.*orders/scheduled\.py\)"
    else:
        write(folder, {"shop/mail/scheduled.py": ENTRY.format("pack")})
        places = r"shop\.mail\.scheduled \(.*mail/scheduled\.py\), the other in shop\.orders\.scheduled \(.*\.py\)"
    with pytest.raises(ImproperlyConfigured, match=f"two entries have the name 'pack': one is in {places}"):
        app.import_modules()


def test_a_list_is_no_schedule(folder: Path) -> None:
    write(folder, {"shop/orders/scheduled.py": "schedule = [1]\n"})
    with pytest.raises(ImproperlyConfigured, match=r"schedule in shop.orders.scheduled \(.*\) must be a dict .*\[1\]"):
        Lavoro("shop", discover="shop", set_as_current=False).import_modules()


# Flask

SITE = """
from flask import Flask
from notes import extension
def create_app():
    app = Flask(__name__)
    extension.init_app(app)
    return app
"""


@pytest.mark.parametrize(
    ("options", "config", "found"),
    [
        ({}, {}, ["tasks", "orders"]),
        ({"discover": True}, {}, ["tasks", "orders"]),
        ({"discover": False}, {}, []),
        ({"discover": "site1.orders"}, {}, ["orders"]),
        ({"discover": ["site1.orders"]}, {}, ["orders"]),
        ({}, {"lavoro_discover": ["site1.orders"]}, ["orders"]),
        ({}, {"lavoro_discover": []}, []),
    ],
)
def test_a_site_discovers_its_own_package(
    folder: Path, options: dict[str, object], config: dict[str, object], found: list[str]
) -> None:
    write(folder, {"site1/web.py": SITE, "site1/tasks.py": NOTE, "site1/orders/tasks.py": NOTE})
    import notes  # type: ignore[import-not-found]

    notes.extension = FlaskLavoro(**options, set_as_current=False)
    from site1.web import create_app  # type: ignore[import-not-found]

    flask_app = create_app()
    flask_app.config["LAVORO"] = config
    notes.extension.import_modules()
    names = {"tasks": "site1.tasks", "orders": "site1.orders.tasks"}
    assert sorted(notes.imported) == sorted(names[name] for name in found)
    notes.extension.close()


def test_a_site_of_one_module_has_no_package_to_discover(folder: Path) -> None:
    write(folder, {"site2.py": SITE, "tasks.py": "raise RuntimeError('the folder is no package of the site')"})
    import notes  # type: ignore[import-not-found]

    notes.extension = FlaskLavoro(set_as_current=False)
    from site2 import create_app  # type: ignore[import-not-found]

    create_app()
    assert notes.extension.packages_to_discover() == []
    notes.extension.close()


# The command line


def test_an_error_stops_the_worker_with_one_sentence(folder: Path) -> None:
    write(folder, {"shop/orders/startup.py": "\n1 / 0\n"})
    (folder / "main.py").write_text("from lavoro import Lavoro\napp = Lavoro(discover='shop')\n")
    command = [sys.executable, "-m", "lavoro", "worker", "-A", "main", "-P", "solo"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    told = [line for line in done.stderr.splitlines() if "cannot be imported" in line]
    assert done.returncode == 1
    assert len(told) == 1
    assert "shop.orders.startup cannot be imported: ZeroDivisionError: division by zero (" in told[0]
    assert told[0].endswith("shop/orders/startup.py, line 2)")
    assert "Traceback" not in done.stderr
