"""Settings come from many places late, the right one wins, secrets stay hidden and wrong values are named."""

from __future__ import annotations

import doctest
import math
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest import mock
from zoneinfo import ZoneInfo

import flask
import pytest

from compat.settings import IGNORED, OLD_NAMES, ignored, unused_defaults
from lavoro import settings
from lavoro.defaults import DEFAULTS, REFUSED, table
from lavoro.errors import ImproperlyConfigured
from lavoro.settings import Settings, load, symbol

POSTGRES = "postgresql://user:pw@db:5432/app"


@pytest.fixture(autouse=True)
def _no_urls_in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAVORO_DATABASE_URL", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)


class Recorded:
    """A configuration object that counts how often it is read."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.times = 0

    def __call__(self) -> Mapping[str, Any]:
        self.times += 1
        return self.values


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


# The table


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_default_is_allowed_and_explained(name: str) -> None:
    default = DEFAULTS[name]
    Settings().check()
    conf = Settings()
    conf[name] = default.value
    conf.check()
    assert re.fullmatch(r"[A-Z`].{5,110}\.", default.doc)
    assert default.rule.text


def test_table_lists_all_settings_in_order() -> None:
    assert [name for name, _, _ in table()] == list(DEFAULTS)
    assert ("task_default_queue", "celery", DEFAULTS["task_default_queue"].doc) in table()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_default_queue", "celery"),
        ("worker_pool", "gevent"),
        ("worker_concurrency", None),
        ("result_expires", timedelta(days=1)),
        ("lavoro_failure_expires", timedelta(days=30)),
        ("broker_connection_timeout", 4),
        ("database_engine_options", {}),
        ("task_acks_late", True),
        ("lavoro_schema", "lavoro"),
        ("lavoro_lease", 30.0),
        ("lavoro_poll_interval", 1.0),
        ("lavoro_max_argument_size", 1_000_000),
        ("lavoro_max_result_size", 16_000_000),
        ("lavoro_max_crashes", 3),
        ("lavoro_unknown_task_delay", 1.0),
        ("lavoro_unknown_task_delay_max", 300.0),
        ("lavoro_shutdown_grace", 30.0),
        ("lavoro_prefetch", 500),
        ("lavoro_batch", 1000),
        ("lavoro_data_folder", None),
    ],
)
def test_defaults_that_others_rely_on(name: str, value: Any) -> None:
    assert Settings()[name] == value


def test_examples_in_the_docs_hold() -> None:
    assert doctest.testmod(settings).failed == 0


# The mapping


def test_items_and_attributes_are_the_same() -> None:
    conf = Settings()
    conf.task_always_eager = True
    assert conf["task_always_eager"] is True
    conf["timezone"] = "Europe/Rome"
    assert conf.timezone == "Europe/Rome"
    conf.update({"task_default_queue": "a"}, task_serializer="pickle")
    assert (conf.task_default_queue, conf.task_serializer) == ("a", "pickle")


def test_unknown_settings_are_kept() -> None:
    conf = Settings()
    conf.update({"SECRET_KEY": "x", "my_own": [1]})
    assert conf.SECRET_KEY == "x"
    assert conf["my_own"] == [1]
    conf.check()


def test_missing_settings_are_named() -> None:
    conf = Settings()
    with pytest.raises(AttributeError, match="no setting 'task_alway_eager'"):
        _ = conf.task_alway_eager
    with pytest.raises(KeyError, match="task_alway_eager"):
        conf["task_alway_eager"]
    assert not hasattr(conf, "nothing")
    assert "nothing" not in conf
    assert conf.get("nothing") is None
    assert conf.get("nothing", 5) == 5


def test_a_whole_flask_configuration_fits_in() -> None:
    app = flask.Flask("site")
    app.config.from_mapping(SECRET_KEY="s", CELERY_BROKER_URL="redis://")
    app.config["task_always_eager"] = True
    conf = Settings()
    conf.update(app.config)
    assert conf.task_always_eager is True
    assert app.config["PERMANENT_SESSION_LIFETIME"] == conf.PERMANENT_SESSION_LIFETIME
    assert conf.broker_url is None
    conf.check()
    conf.humanize()


def test_defaults_that_are_dicts_are_live_and_ones_own() -> None:
    one, other = Settings(), Settings()
    one.beat_schedule["tick"] = {"task": "a.tick", "schedule": 10}
    one["database_engine_options"]["echo"] = True
    assert one.beat_schedule == {"tick": {"task": "a.tick", "schedule": 10}}
    assert other.beat_schedule == {}
    assert DEFAULTS["beat_schedule"].value == {}
    assert one.changes == {"beat_schedule": one.beat_schedule, "database_engine_options": {"echo": True}}
    assert other.changes == {}


def test_defaults_of_the_app_are_copied_too() -> None:
    defaults: dict[str, Any] = {"beat_schedule": {"a": 1}}
    conf = Settings(defaults)
    conf.beat_schedule["b"] = 2
    assert defaults == {"beat_schedule": {"a": 1}}
    assert conf.beat_schedule == {"a": 1, "b": 2}


def test_changes_are_only_what_was_set() -> None:
    conf = Settings({"timezone": "UTC"}, pending=[lambda: {"imports": ["a"]}])
    conf.task_always_eager = False
    _ = conf.beat_schedule, conf.timezone
    assert conf.changes == {"imports": ["a"], "task_always_eager": False}
    conf.changes["x"] = 1
    assert "x" not in conf


def test_iterating_yields_each_setting_once_with_its_value() -> None:
    conf = Settings(pending=[lambda: {"task_serializer": "pickle", "MINE": 1}])
    conf.task_serializer = "yaml"
    assert sorted(conf) == sorted([*DEFAULTS, "MINE"])
    assert len(conf) == len(DEFAULTS) + 1
    assert dict(conf)["task_serializer"] == "yaml"
    assert dict(conf.items())["MINE"] == 1


def test_setdefault_counts_defaults_as_not_set() -> None:
    conf = Settings(pending=[lambda: {"timezone": "UTC"}])
    assert conf.setdefault("task_default_queue", "mine") == "mine"
    assert conf.setdefault("task_default_queue", "other") == "mine"
    assert conf.setdefault("timezone", "Europe/Rome") == "UTC"
    conf.setdefault("beat_schedule", {})["x"] = 1
    assert conf.beat_schedule == {"x": 1}


def test_setdefault_keeps_entries_added_to_a_default() -> None:
    conf = Settings()
    conf.beat_schedule["x"] = 1
    assert conf.setdefault("beat_schedule", {}) == {"x": 1}


def test_deleting_takes_back_what_was_set() -> None:
    conf = Settings(pending=[lambda: {"timezone": "UTC"}])
    conf.timezone = "Europe/Rome"
    conf.MINE = 1
    conf.beat_schedule["x"] = 1
    del conf["timezone"], conf["MINE"], conf.beat_schedule
    assert conf.timezone == "UTC"
    assert conf.beat_schedule == {}
    with pytest.raises(KeyError, match="MINE"):
        del conf["MINE"]
    with pytest.raises(AttributeError, match="MINE"):
        del conf.MINE
    assert conf.pop("task_default_queue") == "celery"
    assert conf.task_default_queue == "celery"
    assert conf.pop("MINE", None) is None


def test_clearing_leaves_configuration_and_defaults() -> None:
    conf = Settings({"timezone": "UTC"}, pending=[lambda: {"imports": ["a"]}])
    conf.update(task_always_eager=True, imports=["b"])
    conf.beat_schedule["x"] = 1
    conf.clear()
    assert conf.changes == {"imports": ["a"]}
    assert (conf.timezone, conf.imports, conf.beat_schedule) == ("UTC", ["a"], {})


def _set_some(conf: Settings) -> dict[str, Any]:
    conf.add_source(lambda: {"timezone": "UTC", "imports": ["a"]})
    conf.task_serializer = "pickle"
    conf.imports = ["b"]
    conf.beat_schedule["x"] = 1
    return conf.changes


def test_patching_as_a_dict_restores_what_was_set() -> None:
    conf = Settings()
    before = _set_some(conf)
    with mock.patch.dict(conf, {"task_always_eager": True, "task_serializer": "json", "beat_schedule": {}}):
        assert (conf.task_always_eager, conf.task_serializer, conf.beat_schedule) == (True, "json", {})
    assert conf.changes == before
    conf.clear()
    assert conf.changes == {"timezone": "UTC", "imports": ["a"]}


@pytest.mark.parametrize("name", ["task_serializer", "timezone", "imports", "task_always_eager", "beat_schedule"])
def test_patching_an_attribute_restores_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = Settings()
    before = _set_some(conf)
    with monkeypatch.context() as patch:
        patch.setattr(conf, name, "patched")
        assert conf[name] == "patched"
    with mock.patch.object(conf, name, "patched"):
        assert conf[name] == "patched"
    if name == "beat_schedule":  # changed in place, which neither can know
        del before[name]
    assert conf.changes == before


# Where settings come from


@pytest.mark.parametrize(
    "access",
    [
        lambda conf: conf["timezone"],
        lambda conf: conf.timezone,
        lambda conf: conf.get("timezone"),
        lambda conf: "timezone" in conf,
        list,
        len,
        lambda conf: conf.changes,
        lambda conf: conf.humanize(),
        lambda conf: conf.setdefault("timezone", "UTC"),
        lambda conf: conf.pop("timezone"),
        lambda conf: conf.check(),
        lambda conf: conf.seconds("result_expires"),
        lambda conf: conf.database_url,
    ],
)
def test_configuration_is_read_on_first_access(access: Callable[[Settings], Any]) -> None:
    first, second, defaults = Recorded({"timezone": "UTC"}), Recorded({}), Recorded({})
    conf = Settings(pending=[first])
    conf.add_source(second)
    conf.add_defaults(defaults)
    conf["task_serializer"] = "json"
    conf.task_always_eager = True
    conf.update({"imports": ["a"]}, include=["b"])
    repr(conf)
    assert (first.times, second.times, defaults.times) == (0, 0, 0)
    access(conf)
    access(conf)
    assert (first.times, second.times, defaults.times) == (1, 1, 1)


def test_what_code_sets_wins_over_configuration_objects_before_and_after() -> None:
    conf = Settings()
    conf.timezone = "Europe/Rome"
    conf.add_source(lambda: {"timezone": "UTC", "task_serializer": "yaml", "imports": ["a"]})
    conf.task_serializer = "json"
    assert (conf.timezone, conf.task_serializer, conf.imports) == ("Europe/Rome", "json", ["a"])
    conf.imports = ["b"]
    assert conf.imports == ["b"]


def test_of_configuration_objects_the_later_wins() -> None:
    conf = Settings(pending=[lambda: {"timezone": "UTC", "imports": ["a"]}])
    conf.add_source(lambda: {"timezone": "Europe/Rome"})
    assert (conf.timezone, conf.imports) == ("Europe/Rome", ["a"])
    conf.add_source(lambda: {"imports": ["b"]})
    assert (conf.timezone, conf.imports) == ("Europe/Rome", ["b"])


def test_defaults_of_the_app_lose_to_all_but_lavoros() -> None:
    conf = Settings({"timezone": "UTC", "task_serializer": "a", "imports": ["a"], "include": ["a"]})
    conf.add_source(lambda: {"task_serializer": "b"})
    conf.add_defaults({"task_serializer": "c", "imports": ["c"]})
    conf.add_defaults(lambda: {"include": ["d"]})
    assert (conf.timezone, conf.task_serializer, conf.imports, conf.include) == ("UTC", "b", ["c"], ["d"])
    assert conf.changes == {"task_serializer": "b"}


def test_configuration_that_cannot_be_read_says_so_each_time_and_is_not_lost() -> None:
    broken = True

    def source() -> dict[str, Any]:
        if broken:
            raise ImportError("no such module")
        return {"timezone": "UTC"}

    last = Recorded({"imports": ["a"]})
    conf = Settings(pending=[source, last])
    for _ in range(2):
        with pytest.raises(ImportError, match="no such module"):
            _ = conf.timezone
    assert last.times == 0
    broken = False
    assert (conf.timezone, conf.imports) == ("UTC", ["a"])


def test_configuration_may_read_settings_while_it_is_read() -> None:
    seen = []

    def source() -> dict[str, Any]:
        seen.append((conf.timezone, conf.task_default_queue))
        conf.imports = ["set on the way"]
        conf.add_source(lambda: {"include": ["added on the way"]})
        return {"timezone": "Europe/Rome"}

    conf = Settings(pending=[lambda: {"timezone": "UTC"}, source])
    assert conf.timezone == "Europe/Rome"
    assert seen == [("UTC", "celery")]
    assert (conf.imports, conf.include) == (["set on the way"], ["added on the way"])


def test_threads_wait_until_configuration_is_wholly_read() -> None:
    reading, go_on = threading.Event(), threading.Event()
    times = []

    def slow() -> dict[str, Any]:
        times.append(1)
        reading.set()
        assert go_on.wait(10)
        return {"timezone": "UTC"}

    conf = Settings(pending=[slow, lambda: {"imports": ["a"]}])
    seen: list[Any] = []
    threads = [threading.Thread(target=lambda: seen.append((conf.timezone, conf.imports))) for _ in range(8)]
    threads[0].start()
    assert reading.wait(10)
    for thread in threads[1:]:
        thread.start()
    threads[1].join(0.05)
    assert seen == []
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert seen == [("UTC", ["a"])] * 8
    assert times == [1]


def test_other_names_lead_to_the_same_setting() -> None:
    conf = Settings(pending=[lambda: {"CELERY_TIMEZONE": "UTC"}], aliases={"CELERY_TIMEZONE": "timezone"})
    assert conf.timezone == conf.CELERY_TIMEZONE == conf["CELERY_TIMEZONE"] == "UTC"
    assert "CELERY_TIMEZONE" in conf
    assert "CELERY_TIMEZONE" not in list(conf)
    conf.CELERY_TIMEZONE = "Europe/Rome"
    assert conf.timezone == "Europe/Rome"
    assert conf.setdefault("CELERY_TIMEZONE", "UTC") == "Europe/Rome"
    del conf["CELERY_TIMEZONE"]
    assert conf.timezone == "UTC"


def test_the_name_itself_wins_over_its_alias_in_one_source() -> None:
    both = {"timezone": "UTC", "CELERY_TIMEZONE": "Europe/Rome"}
    conf = Settings(pending=[lambda: both], aliases={"CELERY_TIMEZONE": "timezone"})
    assert conf.timezone == "UTC"


# load


def test_load_takes_a_dict_as_it_is() -> None:
    source = {"timezone": "UTC", "MINE": 1, "CELERY_TIMEZONE": "x", "other": len}
    assert load(source) == source
    assert load(source) is not source


def test_load_with_namespace_keeps_and_strips_upper_case_names() -> None:
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
    assert load(source, namespace="CELERY") == expected
    assert load(source, namespace="CELERY_") == expected
    assert load(SimpleNamespace(**{str(key): value for key, value in source.items()}), namespace="CELERY") == expected


def test_load_with_lower_case_namespace() -> None:
    assert load({"celery_timezone": "UTC", "CELERY_TIMEZONE": "x"}, namespace="celery") == {"timezone": "UTC"}


def test_lavoros_own_settings_need_its_namespace_once() -> None:
    source = {"LAVORO_LEASE": 5, "LAVORO_TIMEZONE": "UTC", "LAVORO_DATABASE_URL": POSTGRES, "LAVORO_LAVORO_BATCH": 7}
    assert load(source, namespace="LAVORO") == {
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

    assert load(Proxy(), namespace="CELERY") == {"timezone": "celery_timezone"}
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


# Showing them


def test_humanize_has_a_line_for_each_change() -> None:
    conf = Settings()
    conf.update(timezone="UTC", imports=["a", "b"], odd=SimpleNamespace(text="a\nb"))
    conf.beat_schedule["x"] = {"task": "t"}
    assert conf.humanize() == (
        "beat_schedule: {'x': {'task': 't'}}\nimports: ['a', 'b']\nodd: namespace(text='a\\nb')\ntimezone: 'UTC'"
    )
    assert Settings().humanize() == ""


def test_a_value_that_writes_several_lines_stays_on_one() -> None:
    class Long:
        def __repr__(self) -> str:
            return "one\ntwo"

    conf = Settings()
    values: dict[Any, Any] = {"long": Long(), 5: "a key that is no text"}
    conf.update(values)
    assert conf.humanize() == "5: 'a key that is no text'\nlong: one two"


def test_humanize_with_defaults_shows_all() -> None:
    lines = Settings().humanize(with_defaults=True).splitlines()
    assert [line.partition(":")[0] for line in lines] == sorted(DEFAULTS)
    assert "task_default_queue: 'celery'" in lines


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("broker_url", "postgresql://me:hush@db/app"),
        ("broker_url", "postgresql://me:hu@sh@db/app"),
        ("broker_url", "postgresql://me:hu/sh@db/app"),
        ("broker_url", ["redis://:hush@a", "redis://u:hush@b"]),
        ("broker_url", "redis://:hush@a;redis://:hush@b"),
        ("broker_url", "postgresql://db/app?user=me&password=hush&sslmode=require"),
        ("broker_url", "host=db password=hush dbname=app"),
        ("broker_url", "host=db password='hush hush' dbname=app"),
        ("SQLALCHEMY_DATABASE_URI", "postgresql+psycopg://me:hush@db/app"),
        ("SECRET_KEY", "hush"),
        ("SECRET_KEY", b"hush"),
        ("STRIPE_API_KEY", "hush"),
        ("AWS_SECRET_ACCESS_KEY", "hush"),
        ("GITHUB_TOKEN", "hush"),
        ("MAIL_PASSWORD", "hush"),
        ("redis_password", "hush"),
        ("SENTRY_DSN", "https://hush@sentry.example/1"),
        ("SECRET_KEY_FALLBACKS", ["hush", "hush"]),
        ("database_engine_options", {"connect_args": {"password": "hush"}}),
        ("broker_transport_options", {"sentinel_kwargs": [{"password": "hush"}]}),
        ("OBJECT", SimpleNamespace(url="amqp://u:hush@h")),
    ],
)
def test_secrets_are_masked(name: str, value: Any) -> None:
    conf = Settings()
    conf[name] = value
    assert not re.search("hu.?sh", conf.humanize())
    assert not re.search("hu.?sh", conf.humanize(with_defaults=True))
    assert "**" in conf.humanize()
    assert "hush" in conf.humanize(censored=False).replace("@", "").replace("/", "")
    assert "hush" not in repr(conf)


def test_what_is_no_secret_is_shown() -> None:
    conf = Settings()
    shown = {
        "broker_url": "postgresql://me@db:5432/app",
        "task_routes": {"a": {"queue": "mail", "routing_key": "mail.out"}},
        "WTF_CSRF_SECRET_KEY": None,
        "SESSION_COOKIE_NAME": "session",
        "task_default_routing_key": "celery",
    }
    conf.update(shown)
    assert conf.table() == shown
    assert "me@db:5432" in conf.humanize()
    assert "**" not in conf.humanize()


def test_masking_leaves_the_settings_themselves_alone() -> None:
    conf = Settings()
    conf.broker_url = "postgresql://me:hush@db/app"
    conf.humanize()
    assert conf.table(censored=False) == {"broker_url": "postgresql://me:hush@db/app"}
    assert conf.table() == {"broker_url": "postgresql://me:**@db/app"}
    assert conf.broker_url == "postgresql://me:hush@db/app"


@pytest.mark.parametrize(
    ("value", "seconds"), [(timedelta(hours=1), 3600.0), (90, 90.0), (1.5, 1.5), (0, 0.0), (None, None)]
)
def test_seconds(value: Any, seconds: float | None) -> None:
    conf = Settings()
    conf.result_expires = value
    assert conf.seconds("result_expires") == seconds


# check


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("task_always_eager", [True, False, 0, 1]),
        ("task_time_limit", [None, 0, 1, 2.5, timedelta(minutes=5)]),
        ("result_expires", [None, 0, 60, timedelta(days=2)]),
        ("lavoro_failure_expires", [None, 0, timedelta(days=400)]),
        ("broker_pool_limit", [None, 0, 5]),
        ("worker_concurrency", [None, 0, 1, 1000]),
        ("worker_pool", ["gevent", "threads", "prefork", "solo"]),
        ("timezone", [None, "UTC", "Europe/Rome", timezone.utc, ZoneInfo("Asia/Kolkata")]),
        ("task_default_rate_limit", [None, 5, 0.5, "10", "10/s", "1.5/m", "500/h"]),
        ("task_default_priority", [None, 0, 9, 255, -5]),
        ("worker_redirect_stdouts_level", ["INFO", "warning", 30]),
        ("accept_content", [["json"], ("json", "pickle"), {"application/json"}]),
        ("imports", ["a.b", ["a", "b"], ("a",)]),
        ("task_queues", [None, {}, [], ["a"], {"a": {}}, ("a", SimpleNamespace(name="b"))]),
        ("task_routes", [None, {}, {"a.*": "q"}, [{"a": "q"}], "pkg.mod.route", lambda name, *_, **__: None]),
        ("lavoro_schema", ["lavoro", "_x", "tasks_2", "x" * 48]),
        ("lavoro_max_argument_size", [1, 10**9]),
        ("broker_read_url", [None]),
    ],
)
def test_check_accepts(name: str, values: list[Any]) -> None:
    for value in values:
        conf = Settings()
        conf[name] = value
        conf.check()


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("task_always_eager", ["False", "true", None, 2, []], "must be True or False"),
        (
            "task_time_limit",
            [-1, "60", math.nan, math.inf, True, timedelta(seconds=-1)],
            "number of seconds or a timedelta",
        ),
        ("task_soft_time_limit", [-0.1], "0 or more"),
        ("result_expires", [-1, "1 day", timedelta(days=-1), -0.5], "0 or more, or None"),
        ("lavoro_lease", [0, -1, None, "30"], "more than 0"),
        ("lavoro_poll_interval", [0], "more than 0"),
        ("worker_concurrency", ["4", 2.0, -1, True], "a whole number"),
        ("broker_pool_limit", ["4", -1], "a whole number"),
        ("lavoro_max_crashes", [0, None], "1 or more"),
        ("lavoro_batch", [0], "1 or more"),
        ("lavoro_max_result_size", [0, 10**9 + 1, math.inf], "1 to 1,000,000,000"),
        ("worker_pool", ["eventlet", "processes", None, "custom", []], "one of gevent, threads, prefork, solo"),
        ("timezone", ["Mars/Olympus", "", "/etc/passwd", "../x", "Europe", 5, timezone], "name of a time zone"),
        ("task_default_rate_limit", ["10/d", "fast", "/s", -1, "10/s "], "such as '10/s'"),
        ("task_default_priority", [2**15, -(2**15) - 1, "high", 1.5], "-32768 to 32767"),
        ("worker_redirect_stdouts_level", ["LOUD", None], "log level"),
        ("accept_content", ["json", [1], None], "list or tuple of names"),
        ("imports", [5, [None]], "module's name or a list"),
        ("task_queues", ["a,b", 5], "list of names or queues"),
        ("task_routes", [5], "a dict, a list, a router"),
        ("beat_schedule", [None, []], "must be a dict"),
        ("task_default_queue", ["", None, 5], "text that is not empty"),
        ("lavoro_schema", ["", "Tasks", "1x", "pg_x", "a-b", "x" * 49, 'x"; drop', "x\n"], "1 to 48 of a-z"),
    ],
)
def test_check_refuses_wrong_values(name: str, values: list[Any], says: str) -> None:
    for value in values:
        conf = Settings(pending=[lambda value=value: {name: value}])  # type: ignore[misc]
        with pytest.raises(ImproperlyConfigured, match=rf"^{name} must be .*, not ") as caught:
            conf.check()
        assert says in str(caught.value)


@pytest.mark.parametrize("name", REFUSED)
def test_check_refuses_settings_that_must_not_be_ignored(name: str) -> None:
    conf = Settings()
    conf[name] = "something"
    with pytest.raises(ImproperlyConfigured, match=f"^{name} is not supported: .*{re.escape(REFUSED[name])}"):
        conf.check()


def test_check_accepts_celerys_defaults_of_those() -> None:
    for name in REFUSED:
        conf = Settings()
        conf[name] = unused_defaults()[name]
        conf.check()
        conf[name] = ""
        conf.check()


@pytest.mark.parametrize(
    ("conf", "says"),
    [
        ({"task_soft_time_limit": 61, "task_time_limit": 60}, "task_soft_time_limit (61) must not be longer than"),
        (
            {"task_soft_time_limit": timedelta(minutes=2), "task_time_limit": 60},
            "must not be longer than task_time_limit",
        ),
        ({"lavoro_unknown_task_delay": 400}, "must not be longer than lavoro_unknown_task_delay_max (300.0)"),
        ({"broker_url": POSTGRES, "broker_read_url": "postgresql://r/"}, "broker_read_url differs from broker_url"),
        ({"broker_write_url": POSTGRES}, "broker_write_url differs from broker_url"),
        ({"task_serializer": "auth"}, "task_serializer = 'auth': there are no certificates"),
    ],
)
def test_check_refuses_contradictions(conf: dict[str, Any], says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=re.escape(says)):
        Settings(pending=[lambda: conf]).check()


@pytest.mark.parametrize(
    "conf",
    [
        {"task_soft_time_limit": 60, "task_time_limit": 60},
        {"task_soft_time_limit": 60, "task_time_limit": 0},
        {"task_soft_time_limit": 60, "task_time_limit": None},
        {"broker_url": POSTGRES, "broker_read_url": POSTGRES, "broker_write_url": POSTGRES},
    ],
)
def test_check_accepts_what_fits_together(conf: dict[str, Any]) -> None:
    Settings(pending=[lambda: conf]).check()


def test_check_lists_all_problems_and_no_secrets() -> None:
    conf = Settings()
    conf.update(
        worker_pool="eventlet",
        broker_host="h",
        lavoro_lease=-1,
        task_queues="redis://u:hush@h",
        database_engine_options=[{"password": "hush"}, "x" * 500],
    )
    with pytest.raises(ImproperlyConfigured) as caught:
        conf.check()
    problems = str(caught.value).splitlines()
    assert [problem.split()[0] for problem in problems] == [
        "broker_host", "worker_pool", "lavoro_lease", "task_queues", "database_engine_options",
    ]  # fmt: skip
    assert "hush" not in str(caught.value)
    assert max(map(len, problems)) < 250


# Celery's settings


def test_each_setting_of_celery_is_known_in_one_way() -> None:
    kinds = [set(DEFAULTS), set(REFUSED), set(IGNORED)]
    assert sum(map(len, kinds)) == len(set().union(*kinds))
    assert set(OLD_NAMES.values()) == {name for kind in kinds for name in kind if not name.startswith("lavoro_")}
    assert all(name.isupper() for name in OLD_NAMES)
    assert len(OLD_NAMES) == len(set(OLD_NAMES.values()))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("BROKER_URL", "broker_url"),
        ("CELERY_RESULT_BACKEND", "result_backend"),
        ("CELERY_ALWAYS_EAGER", "task_always_eager"),
        ("CELERYBEAT_SCHEDULE", "beat_schedule"),
        ("CELERYD_CONCURRENCY", "worker_concurrency"),
        ("CELERYD_TASK_SOFT_TIME_LIMIT", "task_soft_time_limit"),
        ("CELERY_TASK_RESULT_EXPIRES", "result_expires"),
        ("CELERY_RESULT_DBURI", "database_url"),
        ("CELERY_QUEUES", "task_queues"),
        ("ENABLE_UTC", "enable_utc"),
        ("CELERYD_PREFETCH_MULTIPLIER", "worker_prefetch_multiplier"),
    ],
)
def test_old_names(old: str, new: str) -> None:
    assert OLD_NAMES[old] == new
    assert "DATABASE_URL" not in OLD_NAMES


def test_a_configuration_of_celery_3_is_read() -> None:
    class Config:
        BROKER_URL = POSTGRES
        CELERY_ALWAYS_EAGER = True
        CELERYBEAT_SCHEDULE: ClassVar[dict[str, Any]] = {"tick": {"task": "a", "schedule": 1}}
        SQLALCHEMY_ECHO = False

        @staticmethod
        def CELERY_ROUTES(name: str, *_args: Any, **_options: Any) -> str:
            return name

    conf = Settings(unused_defaults(), pending=[lambda: load(Config)], aliases=OLD_NAMES)
    assert conf.database_url == POSTGRES
    assert conf.task_always_eager is conf.CELERY_ALWAYS_EAGER is True
    assert conf.beat_schedule == Config.CELERYBEAT_SCHEDULE
    assert conf.task_routes("q") == "q"
    assert conf.worker_prefetch_multiplier == conf.CELERYD_PREFETCH_MULTIPLIER == 4
    assert conf.worker_consumer == "celery.worker.consumer:Consumer"
    conf.check()


def test_ignored_settings_say_why() -> None:
    assert ignored({"worker_prefetch_multiplier": 1, "broker_heartbeat": 120, "timezone": "UTC"}) == {
        "worker_prefetch_multiplier": IGNORED["worker_prefetch_multiplier"].reason
    }
    assert all(why.reason for why in IGNORED.values())


def test_defaults_of_ignored_settings_stay_ones_own() -> None:
    one = Settings(unused_defaults())
    one.broker_transport_options["visibility_timeout"] = 5
    assert Settings(unused_defaults()).broker_transport_options == {}
    assert ignored(one.changes) == {"broker_transport_options": IGNORED["broker_transport_options"].reason}


def test_nothing_here_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conf = Settings(unused_defaults(), aliases=OLD_NAMES)
        conf.check()
        conf.humanize(with_defaults=True)
