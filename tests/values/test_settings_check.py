"""Wrong settings are named, all at once, and each setting of Celery is known in one way."""

from __future__ import annotations

import math
import re
import warnings
from datetime import timedelta, timezone
from types import SimpleNamespace
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest

from lavoro import Lavoro
from lavoro.config.absent import ABSENT, REFUSED, SETTINGS, UNREAD, of_settings
from lavoro.config.defaults import DEFAULTS
from lavoro.config.old_names import OLD_NAMES
from lavoro.config.settings import Settings, load
from lavoro.exceptions import ImproperlyConfigured

POSTGRES = "postgresql://user:pw@db:5432/app"


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
        ("lavoro_schema", ["lavoro", "_x", "tasks_2", "Tasks", "a-b", "x" * 40]),
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
        ("lavoro_schema", ["", "1x", "pg_x", "-b", "x" * 41, 'x"; drop', "x{y}", "x\n"], "1 to 40 of A-Z, a-z"),
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
        conf[name] = UNREAD[name]
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


def test_each_setting_has_one_old_name() -> None:
    assert set(OLD_NAMES.values()) == {name for name in {*DEFAULTS, *SETTINGS} if not name.startswith("lavoro_")}
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

    conf = Settings(pending=[lambda: load(Config)])
    assert conf.database_url == POSTGRES
    assert conf.task_always_eager is conf.CELERY_ALWAYS_EAGER is True
    assert conf.beat_schedule == Config.CELERYBEAT_SCHEDULE
    assert conf.task_routes("q") == "q"
    assert conf.worker_prefetch_multiplier == conf.CELERYD_PREFETCH_MULTIPLIER == 4
    assert conf.worker_consumer == "celery.worker.consumer:Consumer"
    conf.check()


def test_settings_that_are_not_read_have_celerys_defaults() -> None:
    """The differential run compares all of them with Celery's own table."""
    conf = Settings()
    assert (conf.broker_heartbeat, conf.worker_consumer, conf.beat_max_loop_interval) == (
        120, "celery.worker.consumer:Consumer", 0,
    )  # fmt: skip
    assert (conf.result_backend_max_retries, conf.worker_send_task_events) == (math.inf, False)
    assert {name for name in SETTINGS if name not in conf} == set()
    assert {name: conf[name] for name in UNREAD} == UNREAD
    conf.update({name: UNREAD[name] for name in UNREAD})
    assert [*of_settings(conf.changes, "ignored"), *of_settings(conf.changes, "warned")] == []


def test_what_is_ignored_says_why() -> None:
    changes = {"redis_max_connections": 1, "broker_heartbeat": 120, "timezone": "UTC"}
    assert list(of_settings(changes, "ignored")) == [
        f"redis_max_connections is not supported: {ABSENT['redis_max_connections'].sentence}"
    ]


def test_defaults_of_ignored_settings_stay_ones_own() -> None:
    one = Settings()
    one.broker_transport_options["visibility_timeout"] = 5
    assert Settings().broker_transport_options == {}
    assert one.changes == {"broker_transport_options": {"visibility_timeout": 5}}


def test_nothing_here_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conf = Settings()
        conf.check()
        conf.humanize(with_defaults=True)


# Old and new names


MIXED = {"CELERY_TASK_SERIALIZER": "json", "CELERYD_CONCURRENCY": 2, "task_track_started": True}


def test_old_and_new_names_are_not_mixed_in_one_configuration() -> None:
    words = "Cannot mix new setting names with old setting names, please rename .* to the old format:\ntask_track"
    with pytest.raises(ImproperlyConfigured, match=words) as raised:
        load(MIXED)
    assert str(raised.value).endswith(f"{'task_track_started':<36} -> CELERY_TRACK_STARTED")
    conf = Settings(pending=[dict])
    conf.update(worker_concurrency=2, CELERY_TRACK_STARTED=True)
    with pytest.raises(ImproperlyConfigured, match="Cannot mix new and old setting keys") as raised:
        _ = conf.worker_concurrency
    assert str(raised.value).endswith(f"{'CELERY_TRACK_STARTED':<36} -> task_track_started")


def test_old_and_new_names_may_stand_in_two_configurations() -> None:
    conf = Settings(pending=[lambda: load({"CELERYD_CONCURRENCY": 2}), lambda: load({"task_track_started": True})])
    conf.update(MIXED_BOTH)
    assert (conf.worker_concurrency, conf.task_track_started, conf.CELERYD_CONCURRENCY) == (3, True, 3)


MIXED_BOTH = {"worker_concurrency": 3, "CELERYD_CONCURRENCY": 3}
"""A setting with both of its names is no mixture."""


def test_constructor_and_configuration_may_use_different_names() -> None:
    app = Lavoro("shop", set_as_current=False, CELERY_TRACK_STARTED=True, task_default_queue="q")
    app.config_from_object({"CELERYD_CONCURRENCY": 7})
    assert (app.conf.task_track_started, app.conf.task_default_queue, app.conf.worker_concurrency) == (True, "q", 7)


def test_a_namespace_may_have_old_and_new_names_and_other_names_are_found() -> None:
    class Django:
        CELERY_TASK_TRACK_STARTED = True
        CELERY_ALWAYS_EAGER = True  # Celery 3 called it so
        CELERY_RESULT_DBURI = POSTGRES
        CELERYD_CONCURRENCY = 4
        CELERY_MY_OWN = 5
        TIME_ZONE = "Europe/Rome"
        SECRET_KEY = "hush"

    conf = Settings(pending=[lambda: load(Django, namespace="CELERY")])
    assert (conf.task_track_started, conf.task_always_eager, conf.worker_concurrency, conf.my_own) == (True, True, 4, 5)
    assert conf["database_url"] == POSTGRES
    assert (conf.SECRET_KEY, conf["CELERY_MY_OWN"], conf.timezone, conf["timezone"]) == ("hush", 5, "Europe/Rome", None)
    conf.check()
    assert "hush" not in conf.humanize()


# Other ways to find them


def test_attributes_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    conf = Settings()
    conf.task_default_queue = "q"
    assert (conf.task_default_exchange, conf.task_default_routing_key, conf["task_default_exchange"]) == (
        "q",
        "q",
        None,
    )
    conf.task_default_exchange = "e"
    assert (conf.task_default_exchange, conf["task_default_exchange"]) == ("e", "e")
    conf.broker_url = POSTGRES
    assert (conf.broker_read_url, conf.broker_write_url) == (POSTGRES, POSTGRES)
    monkeypatch.setenv("CELERY_BROKER_URL", "postgresql://other/d")
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "redis://h")
    assert (conf.broker_url, conf.database_url) == ("postgresql://other/d", "postgresql://other/d")
    assert (conf.result_backend, conf["broker_url"]) == ("redis://h", POSTGRES)
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://h")
    with pytest.warns(UserWarning, match="CELERY_BROKER_URL names no PostgreSQL database but a redis:// URL"):
        assert conf.database_url == POSTGRES


def test_settings_by_the_parts_of_their_names() -> None:
    conf = Settings()
    conf.worker_disable_rate_limits = True
    found = conf.find_option("disable_rate_limits")
    assert (found.namespace, found.key, found.type.value) == ("worker", "disable_rate_limits", False)
    assert conf.find_value_for_key("disable_rate_limits") is True
    assert conf.find_option("always_eager")[:2] == ("task", "always_eager")
    assert conf.find_option("timezone")[:2] == (None, "timezone")
    assert conf.find_option("heartbeat", "broker").type.value == 120
    assert conf.get_by_parts("worker", None, "disable_rate_limits") is True
    with pytest.raises(KeyError):
        conf.find_option("nothing_like_it")
    assert (conf.value_set_for("worker_disable_rate_limits"), conf.value_set_for("CELERY_TIMEZONE")) == (True, False)
    assert conf.finalize().without_defaults() == {"worker_disable_rate_limits": True}
    assert conf.first("timezone", "task_default_queue") == "celery"


def test_failures_are_kept_as_celerys_setting_says() -> None:
    conf = Settings()
    assert conf.failures_kept == timedelta(days=30).total_seconds()
    conf.result_failure_expires = 60
    assert conf.failures_kept == 60
    conf.result_failure_expires = 0
    assert conf.failures_kept is None


def test_an_application_has_a_namespace_of_its_own() -> None:
    app = Lavoro("shop", namespace="SHOP", set_as_current=False)
    app.config_from_object({"SHOP_TASK_DEFAULT_QUEUE": "q"})
    assert app.conf.task_default_queue == "q"
