"""Settings are taken from objects of all kinds, and the database's URL from many places."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lavoro.config.settings import Settings, load, symbol
from lavoro.exceptions import ImproperlyConfigured

POSTGRES = "postgresql://user:pw@db:5432/app"


@pytest.fixture
def make_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Make an importable module ``name`` (dots make packages) with that source."""
    monkeypatch.syspath_prepend(tmp_path)

    made = set()

    def make(name: str, source: str) -> None:
        made.add(name.partition(".")[0])
        *packages, module = name.split(".")
        folder = tmp_path.joinpath(*packages)
        folder.mkdir(parents=True, exist_ok=True)
        for package in range(1, len(packages) + 1):
            tmp_path.joinpath(*packages[:package], "__init__.py").touch()
        (folder / f"{module}.py").write_text(source)

    yield make
    for name in [name for name in sys.modules if name.partition(".")[0] in made]:
        del sys.modules[name]


# load


def test_load_takes_a_dict_as_it_is() -> None:
    source = {"timezone": "UTC", "MINE": 1, "CELERY_TIMEZONE": "x", "other": len}
    assert load(source) == source
    assert load(source) is not source


def test_load_with_namespace_strips_upper_case_names_and_keeps_all() -> None:
    source = {
        "CELERY_TASK_ROUTES": {"a": "b"},
        "CELERY_MY_OWN": 1,
        "CELERY_Mixed": 2,
        "CELERYD_CONCURRENCY": 3,
        "DEBUG": True,
        "task_serializer": "x",
        3: "no name",
    }
    expected = {"task_routes": {"a": "b"}, "my_own": 1}
    assert load(source, namespace="CELERY") == {**source, **expected}
    assert load(source, namespace="CELERY_") == {**source, **expected}
    named = {str(key): value for key, value in source.items()}
    assert load(SimpleNamespace(**named), namespace="CELERY") == {**named, **expected}


def test_load_with_lower_case_namespace() -> None:
    source = {"celery_timezone": "UTC", "CELERY_TIMEZONE": "x"}
    assert load(source, namespace="celery") == {**source, "timezone": "UTC"}


def test_lavoros_own_settings_need_its_namespace_once() -> None:
    source = {"LAVORO_LEASE": 5, "LAVORO_TIMEZONE": "UTC", "LAVORO_DATABASE_URL": POSTGRES, "LAVORO_LAVORO_BATCH": 7}
    assert load(source, namespace="LAVORO") == {
        **source,
        "lavoro_lease": 5,
        "timezone": "UTC",
        "database_url": POSTGRES,
        "lavoro_batch": 7,
    }


def test_load_from_a_class_takes_data_and_no_code() -> None:
    class Config:
        timezone = "UTC"
        task_default_queue = "a"
        MINE = 1
        my_own = 2
        _private = 3

        @staticmethod
        def task_routes(name: str, *_args: Any, **_options: Any) -> str:
            return name

        class Inner:
            pass

        def method(self) -> None: ...

        @property
        def broker_url(self) -> str:
            return POSTGRES

        @property
        def expensive(self) -> str:
            raise AssertionError("read")

    data = {"timezone": "UTC", "task_default_queue": "a", "MINE": 1, "my_own": 2}
    assert load(Config) == {**data, "task_routes": Config.task_routes}
    assert load(Config()) == {**data, "task_routes": Config.task_routes, "broker_url": POSTGRES}


def test_load_from_a_dataclass_with_slots() -> None:
    @dataclass(slots=True)
    class Config:
        timezone: str = "UTC"
        lavoro_lease: float = 3.0

    assert load(Config(lavoro_lease=4.0)) == {"timezone": "UTC", "lavoro_lease": 4.0}


def test_load_from_an_object_that_makes_its_attributes_up() -> None:
    class Proxy:
        def __dir__(self) -> list[str]:
            return ["CELERY_TIMEZONE", "timezone"]

        def __getattr__(self, name: str) -> str:
            return name.lower()

    both = {"timezone": "celery_timezone", "CELERY_TIMEZONE": "celery_timezone"}
    assert load(Proxy(), namespace="CELERY") == both
    assert load(Proxy()) == {"timezone": "timezone", "CELERY_TIMEZONE": "celery_timezone"}


def test_load_from_a_module_leaves_its_imports(make_module: Callable[[str, str], None]) -> None:
    make_module(
        "conf_a",
        """
import os
from datetime import timedelta, timezone
from time import time
from fnmatch import fnmatch as pattern

broker_url = "postgresql:///a"
result_expires = timedelta(hours=1)
my_own = {1, 2}
DEBUG = True

def task_routes(name, *args, **kwargs):
    return None

class Router:
    pass

beat_scheduler = Router
CELERY_ROUTES = task_routes
""",
    )
    module = symbol("conf_a")
    expected = {
        "broker_url": "postgresql:///a",
        "result_expires": timedelta(hours=1),
        "my_own": {1, 2},
        "DEBUG": True,
        "task_routes": module.task_routes,
        "beat_scheduler": module.Router,
        "CELERY_ROUTES": module.task_routes,
    }
    assert load(module) == load("conf_a") == expected


@pytest.mark.parametrize(
    "path",
    [
        "conf_b.inner:Config",
        "conf_b.inner.Config",
        "conf_b.inner:Outer.Config",
        "conf_b.inner.Outer.Config",
        "conf_b.inner:values",
    ],
)
def test_load_from_a_dotted_path(path: str, make_module: Callable[[str, str], None]) -> None:
    make_module(
        "conf_b.inner",
        "class Config:\n    timezone = 'UTC'\nclass Outer:\n    Config = Config\nvalues = {'timezone': 'UTC'}\n",
    )
    assert load(path) == {"timezone": "UTC"}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("conf_missing", "No module named 'conf_missing'"),
        ("conf_missing.inner", "No module named 'conf_missing'"),
        ("conf_c.missing", "'conf_c.missing' cannot be imported.*'missing'"),
        ("conf_c.missing.deeper", "'conf_c.missing.deeper' cannot be imported.*'missing'"),
        ("conf_c:missing", "'conf_c:missing' cannot be imported.*'missing'"),
        ("conf_missing:x", "No module named 'conf_missing'"),
    ],
)
def test_a_dotted_path_that_leads_nowhere(path: str, message: str, make_module: Callable[[str, str], None]) -> None:
    make_module("conf_c", "")
    with pytest.raises(ImportError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("import conf_not_there", ModuleNotFoundError, "conf_not_there"),
        ("import conf_pkg.other_missing", ModuleNotFoundError, "conf_pkg.other_missing"),
        ("None.x", AttributeError, "NoneType"),
        ("1 / 0", ZeroDivisionError, "division"),
    ],
)
def test_errors_inside_a_configuration_come_through(
    source: str, error: type[Exception], message: str, make_module: Callable[[str, str], None]
) -> None:
    make_module("conf_pkg.broken", source)
    with pytest.raises(error, match=message):
        load("conf_pkg.broken")
    with pytest.raises(error, match=message):
        load("conf_pkg.broken:timezone")


@pytest.mark.parametrize("source", [None, 5, [("timezone", "UTC")], b"x", True])
def test_load_refuses_what_holds_no_settings(source: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="holds no settings"):
        load(source)


def test_load_is_a_source() -> None:
    conf = Settings(pending=[lambda: load({"CELERY_TIMEZONE": "UTC"}, namespace="CELERY")])
    assert conf.timezone == "UTC"


# The database's URL


@pytest.mark.parametrize(
    ("conf", "environment", "expected"),
    [
        ({}, {}, None),
        ({"broker_url": POSTGRES}, {}, POSTGRES),
        ({"broker_url": "postgres://h/d"}, {}, "postgresql://h/d"),
        ({"broker_url": "postgresql+psycopg://h/d"}, {}, "postgresql://h/d"),
        ({"broker_url": "postgresql+psycopg2://h/d"}, {}, "postgresql://h/d"),
        ({"broker_url": "POSTGRES:///d?host=/run"}, {}, "postgresql:///d?host=/run"),
        ({"database_url": POSTGRES}, {}, POSTGRES),
        ({"broker_url": "postgresql://a/", "database_url": "postgresql://b/"}, {}, "postgresql://a/"),
        ({"broker_url": "postgresql://a/", "database_url": "sqlite://"}, {}, "postgresql://a/"),
        ({"broker_url": "", "database_url": POSTGRES}, {}, POSTGRES),
        ({}, {"LAVORO_DATABASE_URL": POSTGRES}, POSTGRES),
        ({}, {"LAVORO_DATABASE_URL": "postgres://h/d"}, "postgresql://h/d"),
        ({}, {"LAVORO_DATABASE_URL": POSTGRES, "DATABASE_URL": "postgresql://other/"}, POSTGRES),
        ({}, {"LAVORO_DATABASE_URL": "", "DATABASE_URL": "postgresql://other/"}, "postgresql://other/"),
        ({}, {"DATABASE_URL": "postgres://h/d"}, "postgresql://h/d"),
        ({}, {"DATABASE_URL": "mysql://h/d"}, None),
        ({}, {"DATABASE_URL": "sqlite:///x.db"}, None),
        ({}, {"DATABASE_URL": ""}, None),
        (
            {"broker_url": "postgresql://a/"},
            {"LAVORO_DATABASE_URL": POSTGRES, "DATABASE_URL": POSTGRES},
            "postgresql://a/",
        ),
        ({"result_backend": "redis://h"}, {}, None),
    ],
)
def test_database_url(
    conf: dict[str, Any], environment: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Settings(pending=[lambda: conf]).database_url == expected


@pytest.mark.parametrize(
    ("conf", "says"),
    [
        ({"broker_url": "redis://:hush@h/0"}, "broker_url names no PostgreSQL database but a redis:// URL"),
        ({"broker_url": "amqp://u:hush@h//"}, "broker_url names no PostgreSQL database but a amqp:// URL"),
        ({"broker_url": "memory://"}, "a memory:// URL"),
        ({"broker_url": "hush"}, "no URL at all"),
        ({"broker_url": ["redis://:hush@h", "redis://:hush@i"]}, "a list .several servers are written postgresql://h"),
        ({"database_url": "mysql://u:hush@h/d"}, "database_url names no PostgreSQL database but a mysql:// URL"),
    ],
)
def test_a_url_of_something_else_is_refused_without_telling_it(
    conf: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", POSTGRES)
    with pytest.raises(ImproperlyConfigured, match=says) as caught:
        _ = Settings(pending=[lambda: conf]).database_url
    assert "hush" not in str(caught.value)
    assert "LAVORO_DATABASE_URL" in str(caught.value)


def test_a_url_of_something_else_is_passed_over_with_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAVORO_DATABASE_URL", POSTGRES)
    conf = Settings()
    conf.broker_url = "redis://:hush@h/0"
    with pytest.warns(UserWarning, match="broker_url .* a redis:// URL") as caught:
        assert conf.database_url == POSTGRES
    assert "hush" not in str(caught[0].message)
    assert conf.database_url == POSTGRES  # warnings are errors here: it comes once


def test_a_broker_of_something_else_is_passed_over_for_the_other_setting() -> None:
    conf = Settings()
    conf.update(broker_url="redis://h", database_url=POSTGRES)
    with pytest.warns(UserWarning, match="broker_url"):
        assert conf.database_url == POSTGRES
    assert conf["database_url"] == POSTGRES


def test_a_foreign_url_in_lavoros_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAVORO_DATABASE_URL", "mysql://u:hush@h/d")
    with pytest.raises(ImproperlyConfigured, match="LAVORO_DATABASE_URL .* it is a mysql:// URL") as caught:
        _ = Settings().database_url
    assert "hush" not in str(caught.value)
    monkeypatch.setenv("DATABASE_URL", POSTGRES)
    with pytest.raises(ImproperlyConfigured, match="LAVORO_DATABASE_URL"):
        _ = Settings().database_url


def test_setting_the_database_url_as_attribute() -> None:
    conf = Settings()
    setattr(conf, "database_url", "postgres://h/d")  # noqa: B010 (to the type checker it is read-only)
    assert conf.database_url == "postgresql://h/d"
    assert conf["database_url"] == "postgres://h/d"
