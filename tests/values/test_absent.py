"""What Celery has and this release does not is said where it is asked for; misspelt names are told of."""

from __future__ import annotations

import datetime as dt
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import lavoro
from lavoro import Lavoro, Task, shared_task
from lavoro.calling.options import NAMES, QUEUE
from lavoro.calling.routing import Router, queue_names
from lavoro.config import spelling
from lavoro.config.absent import ABSENT, SETTINGS, mark_missing, of_settings, of_tasks
from lavoro.config.defaults import DEFAULTS
from lavoro.config.settings import Settings
from lavoro.exceptions import ImproperlyConfigured, LavoroWarning, NotSupported
from lavoro.runtime import current_app


@pytest.fixture(autouse=True)
def nothing_was_warned_of() -> None:
    spelling.warn_of.cache_clear()


def f() -> None: ...


def app(**settings: Any) -> Lavoro:
    return Lavoro("shop", set_as_current=False, **settings)


# The table


def test_each_row_says_what_to_do() -> None:
    for name, row in ABSENT.items():
        assert len(row.sentence) > 10, name
        assert not row.sentence.endswith("."), name
        assert row.happens in ("ignored", "warned", "refused"), name
        assert (
            name in SETTINGS
            or name.partition(".")[0]
            in (
                "task",
                "app",
                "@task",
                "apply_async",
                "lavoro",
                "celery",
                "signals",
                "schedules",
                "result",
                "connection",
                "backend",
            )
            or (name.startswith("lavoro "))
        ), name


def test_a_setting_is_read_or_has_a_row() -> None:
    """So that the reference says of each setting whether it changes anything."""
    tables = {"defaults.py", "absent.py", "old_names.py"}
    files = [file for file in Path(lavoro.__file__).parent.rglob("*.py") if file.name not in tables]
    source = "\n".join(file.read_text() for file in files)
    attributes = {setting: name for name, setting in re.findall(r'(\w+): .* = from_settings\("(\w+)"\)', source)}
    unread = {
        name
        for name in DEFAULTS
        if not re.search(rf"\.{attributes[name]}\b" if name in attributes else rf"\b{name}\b", source)
    }
    assert unread - ABSENT.keys() == set()


def test_defaults_of_ours_are_harmless() -> None:
    told = "task_store_errors_even_if_ignored"
    conf = Settings(pending=[lambda: {name: default.value for name, default in DEFAULTS.items()}])
    conf.check()
    assert list(of_settings(conf.changes, "warned")) == [f"{told} is not supported: failures are always kept"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_acks_on_failure_or_timeout", False),
        ("task_acks_on_failure", False),
        ("task_acks_on_timeout", False),
        ("worker_autoscaler", "mine:Scaler"),
    ],
)
def test_settings_that_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"^{name} is not supported: "):
        Settings(pending=[lambda: {name: value}]).check()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_default_rate_limit", "5/s"),
        ("task_store_errors_even_if_ignored", False),
        ("worker_direct", True),
    ],
)
def test_settings_that_are_warned_of(name: str, value: Any) -> None:
    conf = Settings(pending=[lambda: {name: value}])
    conf.check()
    (said,) = of_settings(conf.changes, "warned")
    assert said == f"{name} is not supported: {ABSENT[name].sentence}"


def test_options_of_tasks() -> None:
    shop = app()
    for number in range(5):
        shop.task(name=f"t{number}", rate_limit="1/s", acks_on_failure_or_timeout=number > 0)(f)
    shop.task(name="plain")(f)
    shop.register_task(type("Written", (Task,), {"name": "written", "run": f, "acks_on_failure_or_timeout": False}))
    tasks = [task for name, task in shop.tasks.items() if name in ("plain", "written") or name[0] == "t"]
    tasks = [task for task in tasks if "." not in task.name]
    assert [said.partition(":")[0] for said in of_tasks(tasks, "warned")] == [
        "rate_limit of t0, t1, t2 and 2 more is not supported"
    ]
    assert [said.partition(":")[0] for said in of_tasks(tasks, "refused")] == [
        "acks_on_failure_or_timeout of t0, written is not supported"
    ]


# Names that are asked for


@pytest.mark.parametrize("name", [name for name in ABSENT if name.split(".")[0] in ("task", "app")])
def test_attributes_of_tasks_and_applications(name: str) -> None:
    kind, _, attribute = name.partition(".")
    shop = app()
    thing: Any = shop.task(name="a.task")(f) if kind == "task" else shop
    with pytest.raises(NotSupported, match=f"^{name}: ") as caught:
        getattr(thing, attribute)
    assert isinstance(caught.value, NotImplementedError)
    assert not hasattr(thing, attribute)
    assert getattr(thing, attribute, 5) == 5
    assert not hasattr(type(thing), attribute)
    setattr(thing, attribute, 7)
    assert getattr(thing, attribute) == 7


def test_other_attributes_are_missing_as_always() -> None:
    shop = app()
    for thing in (shop, shop.task(name="a.task")(f)):
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            _ = thing.nothing  # type: ignore[attr-defined]


# Names that are nearly known


def told(make: Callable[[], object]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make()
    assert all(warning.category is LavoroWarning for warning in caught)
    assert all(warning.filename == __file__ for warning in caught), "it names the line that is to be changed"
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("max_retry", "max_retries"),
        ("retry_backof", "retry_backoff"),
        ("autoretry", "autoretry_for"),
        ("queues", "queue"),
        ("time_limits", "time_limit"),
        ("task_time_limit", "time_limit"),
        ("ignore_results", "ignore_result"),
        ("expire", "expires"),
    ],
)
def test_options_of_tasks_that_are_misspelt(option: str, meant: str) -> None:
    says = [f"task 'a.task': the option {option!r} means nothing here: did you mean {meant!r}?"]
    shop = app()
    assert told(lambda: shop.task(name="a.task", **{option: 3})(f)) == says
    assert getattr(shop.tasks["a.task"], option) == 3
    assert told(lambda: shop.task(name="a.task", **{option: 3})(f)) == []
    spelling.warn_of.cache_clear()
    assert told(lambda: app().register_task(type("W", (Task,), {"name": "a.task", "run": f, option: 3}))) == says


def test_unknown_options_of_tasks_become_attributes() -> None:
    names = ("plugin", "request_context", "tenant", "owner", "x", "timeout", "cache", "lock", "unique_on", "version")
    made: Any = None

    def make() -> None:
        nonlocal made
        made = app().task(name="a.task", **dict.fromkeys(names, 1))(f)

    assert told(make) == []
    assert all(getattr(made, name) == 1 for name in names)
    assert told(lambda: [app().task(name="a.task", **{name: None})(f) for name in NAMES - {"name", "pydantic"}]) == []


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: app(bakend="x"), "Lavoro(): the argument 'bakend' means nothing here: did you mean 'backend'?"),
        (lambda: app(task_time_limitt=3), "the setting 'task_time_limitt' means nothing here: did you"),
        (lambda: app().conf.update(worker_concurency=3), "the setting 'worker_concurency' means nothing here: did"),
        (lambda: setattr(app().conf, "timezon", 3), "the setting 'timezon' means nothing here: did you mean"),
        (lambda: Settings(pending=[lambda: {"beat_schedul": 3}]).timezone, "the setting 'beat_schedul' means nothing"),
        (lambda: Router({"a.*": {"queu": "x"}}), "task_routes of 'a.*': the option 'queu' means nothing here: did you"),
        (lambda: app(task_always_eager=True).task(f).apply_async(cuntdown=3),
         "apply_async: the option 'cuntdown' means nothing here: did you mean 'countdown'?"),
        (lambda: app(task_always_eager=True).task(name="b")(f).apply_async(retry_policy={"max_retry": 1}),
         "retry_policy: the option 'max_retry' means nothing here: did you mean 'max_retries'?"),
        (lambda: app().task(name="c", retry_kwargs={"max_retry": 1, "tenant": 1, "max_retries": 2, "countdown": 3})(f),
         "task 'c': retry_kwargs: the option 'max_retry' means nothing here: did you mean 'max_retries'?"),
        (lambda: app(task_annotations={"*": {"time_limt": 3}}).task(name="a")(f).annotate(),
         "task_annotations of 'a': the option 'time_limt' means nothing here: did you mean 'time_limit'?"),
        (lambda: app().conf.update(task_publish_retry_policy={"max_retry": 1, "interval_step": 2, 3: 4}),
         "task_publish_retry_policy: the option 'max_retry' means nothing here: did you mean 'max_retries'?"),
        (lambda: Settings(pending=[lambda: {"task_publish_retry_policy": {"interval_stat": 1}}]).timezone,
         "task_publish_retry_policy: the option 'interval_stat' means nothing here: did you mean 'interval_start'?"),
        (lambda: Router(queues={"mail": {"exchang": "x", "routing_key": "y"}}),
         "task_queues of 'mail': the option 'exchang' means nothing here: did you mean 'exchange'?"),
        (lambda: queue_names({"web": {"routing_ky": "x", "tenant": 1, 5: 6}}, "celery"),
         "task_queues of 'web': the option 'routing_ky' means nothing here: did you mean 'routing_key'?"),
    ],
)  # fmt: skip
def test_other_names_that_are_misspelt(make: Callable[[], object], says: str) -> None:
    (said,) = told(make)
    assert said.startswith(says)


def test_names_that_are_not_meant_for_us() -> None:
    def make() -> None:
        shop = app()
        shop.conf.update(
            {"SECRET_KEY": 1, "BROKER_URI": 2, "worker_prefetch_multiplier": 1, "redis_port": 5, "shop": 3}
        )
        shop.conf.update(dict.fromkeys(SETTINGS))
        shop.conf.task_always_eager = True
        shop.task(f).apply_async(MessageGroupId="g", app_id="x", tenant=5)
        Router({"a.*": {"queue": "x", "priority": 5, "tenant": 5}})
        Router(queues={"mail": dict.fromkeys(QUEUE), "web": {"tenant": 5}})
        shop.conf.task_publish_retry_policy = {"max_retries": None, "errback": None}

    assert told(make) == []


def test_a_setting_that_is_asked_for_by_a_misspelt_name() -> None:
    with pytest.raises(AttributeError, match="there is no setting 'task_route': did you mean 'task_routes'?"):
        _ = Settings().task_route


# What applications of Celery have, and these too


def test_reject_on_worker_lost_is_the_end_of_a_lost_start() -> None:
    shop = app()
    for lost, kept in ((None, None), (False, False), (True, None)):
        shop.tasks.clear()
        form = shop.site.builders.of(shop.task(name="a.task", reject_on_worker_lost=lost)(f), "a.task", (), {}, {})
        assert form.extra.get("acks_late") is kept
    shop.conf.task_reject_on_worker_lost = False
    shop.tasks.clear()
    assert shop.site.builders.of(shop.task(name="a.task")(f), "a.task", (), {}, {}).extra == {"acks_late": False}


def test_time() -> None:
    shop = app()
    assert shop.now().utcoffset() == dt.timedelta(0)
    shop.conf.timezone = "Asia/Tokyo"
    assert (shop.timezone, shop.now().utcoffset()) == (ZoneInfo("Asia/Tokyo"), dt.timedelta(hours=9))
    shop.conf.update(timezone=None, enable_utc=False)
    assert shop.now().utcoffset() == dt.datetime.now().astimezone().utcoffset()


def test_signals_of_an_application(caplog: pytest.LogCaptureFixture) -> None:
    shop, seen = app(), []
    shop.config_from_object(SimpleNamespace(timezone="Asia/Tokyo"))

    @shop.on_after_configure.connect
    def configured(sender: Lavoro, source: Any, **_: Any) -> None:
        seen.append(("configured", sender, source["timezone"], "late" in sender.tasks))
        _ = sender.amqp  # type: ignore[attr-defined]

    @shop.on_after_finalize.connect
    def finalized(sender: Lavoro, **_: Any) -> None:
        seen.append(("finalized", sender, "late" in sender.tasks))

    shared = shared_task(name="late")(f)
    assert seen == []
    _ = shop.tasks
    shop.finalize()
    assert seen == [("configured", shop, "Asia/Tokyo", True), ("finalized", shop, True)]
    assert "app.amqp: there is no message broker" in caplog.text
    assert shared is not None
    current_app.shared.pop()


def test_an_application_that_is_not_finalized_by_itself() -> None:
    seen: list[Any] = []
    shop = app(autofinalize=False)
    shop.on_after_finalize.connect(lambda sender, **_: seen.append(sender), weak=False)
    _ = shop.tasks
    assert seen == []
    shop.finalize()
    assert seen == [shop]


def test_no_row_hides_what_is_there() -> None:
    class Application:
        amqp = "there"

    with pytest.raises(TypeError, match=r"Application.amqp is there: delete the row 'app.amqp'"):
        mark_missing(Application, "app")
    assert Application.amqp == "there"
