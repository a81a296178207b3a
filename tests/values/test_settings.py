"""Settings come from many places late, the right one wins, and secrets stay hidden."""

from __future__ import annotations

import copy
import doctest
import re
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock

import flask
import pytest

from lavoro.config import settings
from lavoro.config.absent import UNREAD
from lavoro.config.defaults import DEFAULTS, table
from lavoro.config.settings import Settings


class Recorded:
    """A configuration object that counts how often it is read."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.times = 0

    def __call__(self) -> Mapping[str, Any]:
        self.times += 1
        return self.values


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
        ("lavoro_prefetch", 1000),
        ("lavoro_batch", 1000),
        ("lavoro_data_dir", None),
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
    assert sorted(conf) == sorted([*DEFAULTS, *UNREAD, "MINE"])
    assert len(conf) == len(DEFAULTS) + len(UNREAD) + 1
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
    conf = Settings(pending=[lambda: {"CELERY_TIMEZONE": "UTC"}])
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
    conf = Settings(pending=[lambda: both])
    assert conf.timezone == "UTC"


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
    assert [line.partition(":")[0] for line in lines] == sorted({*DEFAULTS, *UNREAD})
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


def test_copy_has_the_values_and_is_apart() -> None:
    conf = Settings({"own_default": 1})
    conf.add_source(lambda: {"timezone": "Europe/Rome"})
    conf.task_default_queue = "mine"
    conf.beat_schedule["x"] = 1
    other = copy.copy(conf)
    assert type(other) is Settings
    assert dict(other) == dict(conf)
    other.task_default_queue = "theirs"
    assert (conf.task_default_queue, other.timezone, other.own_default) == ("mine", "Europe/Rome", 1)


def test_urls_of_the_broker_are_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "postgresql://told/x")
    conf = Settings()
    assert (conf.broker_read_url, conf.broker_write_url) == ("postgresql://told/x",) * 2
    monkeypatch.setenv("CELERY_BROKER_READ_URL", "postgresql://read/x")
    assert conf.broker_read_url == "postgresql://read/x"
