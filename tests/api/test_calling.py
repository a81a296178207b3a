"""Calling tasks: what is stored, what is refused, and how a call survives a server that goes away."""

from __future__ import annotations

import datetime as dt
import math
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from werkzeug.local import LocalProxy

from lavoro import AsyncResult, Lavoro, Task, signals
from lavoro.exceptions import AlwaysEagerIgnored, OperationalError, QueueNotFound, SchemaOutdated
from lavoro.protocol.ids import uuid7
from lavoro.store.schema.migrate import migrate
from tests.api.conftest import Rows
from tests.postgres import Cluster

NOW = dt.datetime.now(dt.timezone.utc)
HOUR = dt.timedelta(hours=1)


def add(x: int, y: int = 0) -> int:
    return x + y


def test_delay_stores_a_row(app: Lavoro, rows: Rows) -> None:
    result = app.task(name="shop.add")(add).delay(1, y=2)
    (row,) = rows()
    assert (str(row["id"]), row["name"], row["args"], row["kwargs"]) == (result.id, "shop.add", [1], {"y": 2})
    assert (row["queue"], row["priority"], row["retries"], row["attempt"]) == ("celery", 0, 0, 0)
    assert (row["options"], row["payload"], row["expires_at"]) == (None, None, None)
    assert (result.state, result.args, result.kwargs, result.stage) == ("PENDING", [1], {"y": 2}, "waiting")


def test_who_falls_asleep_between_two_quick_calls_is_woken_soon(
    app: Lavoro, migrated_url: str, eventually: Callable[..., object]
) -> None:
    task = app.task(add)
    task.delay(1)  # has seen that nobody sleeps
    with psycopg.connect(migrated_url, autocommit=True) as sleeper:
        sleeper.execute("listen lavoro_wake")
        sleeper.execute("select pg_advisory_lock_shared(hashtextextended('lavoro_queue:celery', 0))")

        def woken() -> bool:
            task.delay(1)
            return any(True for _ in sleeper.notifies(timeout=0))

        eventually(woken, timeout=5, why="later calls look again")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"queue": "mail"}, {"queue": "mail"}),
        ({"priority": 7}, {"priority": 7}),
        ({"retries": 2}, {"retries": 2}),
        ({"headers": {"trace": "t"}}, {"options": {"headers": {"trace": "t"}}}),
        ({"headers": None, "shadow": None}, {"options": None}),
        ({"time_limit": 9, "soft_time_limit": 8}, {"options": {"time_limit": 9, "soft_time_limit": 8}}),
        ({"time_limit": dt.timedelta(minutes=1)}, {"options": {"time_limit": 60}}),
        ({"MessageGroupId": "g"}, {"options": {"properties": {"MessageGroupId": "g"}}}),
        ({"ignore_result": True}, {"options": {"ignore_result": True}}),
        ({"task_id": "my id"}, {"options": {"task_id": "my id"}}),
        ({"exchange": None, "compression": "zlib", "delivery_mode": 2, "producer": None}, {"options": None}),
        ({"eta": NOW + HOUR}, {"due_at": NOW + HOUR}),
        ({"eta": (NOW + HOUR).replace(tzinfo=None)}, {"due_at": NOW + HOUR}),
        ({"eta": (NOW + HOUR).isoformat()}, {"due_at": NOW + HOUR}),
        ({"eta": "2100-01-01T00:00:00Z"}, {"due_at": dt.datetime(2100, 1, 1, tzinfo=dt.timezone.utc)}),
        ({"expires": NOW + HOUR}, {"expires_at": NOW + HOUR}),
    ],
)
def test_options_of_a_call(app: Lavoro, rows: Rows, options: dict[str, Any], expected: dict[str, Any]) -> None:
    app.task(add).apply_async((1,), **options)
    (row,) = rows()
    assert {name: row[name] for name in expected} == expected


def test_countdown_and_expires_count_from_the_call(app: Lavoro, rows: Rows) -> None:
    task = app.task(add)
    task.apply_async((1,), countdown=3600, expires=dt.timedelta(hours=2), eta=NOW)  # the countdown wins, as in Celery
    (row,) = rows("select due_at - created_at as due_at, expires_at - created_at as expires_at from lavoro.waiting")
    assert abs(row["due_at"] - HOUR) < dt.timedelta(seconds=10)
    assert abs(row["expires_at"] - 2 * HOUR) < dt.timedelta(seconds=10)


def test_naive_times_are_local_without_utc(app: Lavoro, rows: Rows) -> None:
    app.conf.update(enable_utc=False, timezone="Asia/Tokyo")
    app.task(add).apply_async((1,), eta=dt.datetime(2100, 1, 1, 9))
    assert rows()[0]["due_at"] == dt.datetime(2100, 1, 1, tzinfo=dt.timezone.utc)


def test_attributes_of_the_task_lose_to_the_call_and_win_over_the_route(app: Lavoro, rows: Rows) -> None:
    app.conf.task_routes = {"*": {"queue": "route", "priority": 1}}
    app.conf.task_default_priority = 4
    plain, own = app.task(name="plain")(add), app.task(name="own", queue="own", priority=2, expires=60)(add)
    plain.delay(1)
    own.delay(1)
    app.send_task("own", (1,))
    own.apply_async((1,), queue="call", priority=3)
    app.conf.task_routes = None
    plain.delay(1)
    found = [(row["queue"], row["priority"], row["expires_at"] is not None) for row in rows()]
    assert found == [("route", 1, False), ("own", 2, True), ("own", 2, True), ("call", 3, True), ("celery", 4, False)]


def _circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


@pytest.mark.parametrize(
    ("error", "args", "options"),
    [
        (TypeError, (), {}),
        (TypeError, (1, 2, 3), {}),
        (TypeError, "12", {}),
        (TypeError, (object(),), {}),
        (TypeError, ({(1, 2): 3},), {}),
        (ValueError, (_circle(),), {}),
        (ValueError, ("x" * 1_000_000,), {}),
        (ValueError, ("ü" * 500_001,), {}),
        (ValueError, (1,), {"headers": {"much": "x" * 1_000_000}}),
        (TypeError, (1,), {"headers": {"what": object()}}),
        (ValueError, (1,), {"countdown": math.nan}),
        (ValueError, (1,), {"countdown": 1e300}),
        (ValueError, (1,), {"countdown": 10**400}),
        (TypeError, (1,), {"task_id": 5}),
        (ValueError, (1,), {"expires": -math.inf}),
        (TypeError, (1,), {"countdown": [5]}),
        (TypeError, (1,), {"eta": 5}),
        (ValueError, (1,), {"eta": "tomorrow"}),
        (ValueError, (1,), {"priority": 40_000}),
        (ValueError, (1,), {"time_limit": 1, "soft_time_limit": 2}),
        (ValueError, (1,), {"queue": "a\x00b"}),
        (ValueError, (1,), {"link": "task"}),
        (TypeError, (1,), {"connection": "no connection"}),
        (ValueError, (1,), {"time_limit": -1}),
        (ValueError, (1,), {"time_limit": "60"}),
        (ValueError, (1,), {"soft_time_limit": dt.timedelta(seconds=-1)}),
        (ValueError, (1,), {"ignore_result": "no"}),
        (ValueError, (1,), {"acks_late": "no"}),
        (ValueError, (1,), {"headers": [1]}),
        (ValueError, (1,), {"properties": "x"}),
        (ValueError, (1,), {"retries": -1}),
        (ValueError, (1,), {"retries": "2"}),
        (ValueError, (1,), {"shadow": 5}),
        (ValueError, (1,), {"serializer": 5}),
        (ValueError, (1,), {"retry_policy": 3}),
    ],
)
def test_what_cannot_be_sent_is_refused_at_the_call(
    app: Lavoro, rows: Rows, error: type[Exception], args: Any, options: dict[str, Any]
) -> None:
    task = app.task(add)
    with pytest.raises(error):
        task.apply_async(args, **options)
    if isinstance(args, tuple):
        with pytest.raises(error):
            task.delay_many([(1,), args], **options)
    assert rows() == []


def test_refusals_say_what_to_do(app: Lavoro) -> None:
    with pytest.raises(TypeError, match="add.*missing a required argument: 'x'"):
        app.task(add).delay()  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="lavoro_max_argument_size.*store the data elsewhere"):
        app.task(add).delay("x" * 1_000_000)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot name a task"):
        app.send_task("a\x00b")
    with pytest.raises(ValueError, match="cannot name a task"):
        app.send_task("x" * 501)
    app.conf.task_create_missing_queues = False
    with pytest.raises(QueueNotFound, match="task_create_missing_queues"):
        app.task(add).apply_async((1,), queue="unheard")


class Base(DeclarativeBase):
    """The base of a model of SQLAlchemy's."""


class User(Base):
    """A model of SQLAlchemy's."""

    __tablename__ = "calling_user"
    id: Mapped[int] = mapped_column(primary_key=True)


class Customer:
    """An object as Django's models are."""

    _meta = object()
    pk = 5


def fill(name: str, *more: Any, rows: Any = None) -> None: ...


@pytest.mark.parametrize(
    ("args", "kwargs", "says"),
    [
        (
            (object(),),
            {},
            "shop.fill: the argument 'name' cannot be sent: Object of type object is not JSON",
        ),
        (("x", {1}), {}, "shop.fill: the argument number 2 cannot be sent: Object of type set is not"),
        (("x",), {"rows": [1, {"a": object()}]}, "the argument 'rows' cannot be sent: .*: at .1...a.."),
        (("x",), {"rows": _circle()}, "the argument 'rows' cannot be sent: Circular reference"),
        ((User(id=1),), {}, "the argument 'name' cannot be sent: .*; User is a model of a database: pass its id"),
        (
            ("x", [User(id=1)]),
            {},
            "the argument number 2 cannot be sent: .*; User is a model of a database: pass",
        ),
        (
            ("x",),
            {"rows": {"a": (Customer(),)}},
            "the argument 'rows' cannot be sent: .*; Customer is a model of a",
        ),
        (
            (LocalProxy(lambda: User(id=1)),),
            {},
            "the argument 'name' cannot be sent: .*; User is a model of a",
        ),
    ],
)
def test_the_argument_that_cannot_be_sent_is_named(app: Lavoro, rows: Rows, args: Any, kwargs: Any, says: str) -> None:
    task = app.task(name="shop.fill")(fill)
    with pytest.raises((TypeError, ValueError), match=says) as caught:
        task.delay(*args, **kwargs)
    if not kwargs:
        with pytest.raises(type(caught.value), match=says):
            task.delay_many([args])
    with pytest.raises(type(caught.value), match=says):
        app.send_task("shop.fill", args, kwargs)
    with pytest.raises(type(caught.value), match="the argument (number 1|'x'|number 2|'rows') cannot be sent"):
        app.send_task("elsewhere.task", args, kwargs)
    assert rows() == []


def test_the_argument_that_another_serializer_cannot_send_is_named(app: Lavoro) -> None:
    task = app.task(name="shop.fill", serializer="pickle")(fill)
    with pytest.raises((TypeError, ValueError), match="the argument 'name' cannot be sent: .*lambda"):
        task.delay(lambda: None)  # type: ignore[arg-type]
    bound = app.task(name="shop.bound", bind=True)(lambda self, user: None)
    with pytest.raises(TypeError, match="shop.bound: the argument 'user' cannot be sent"):
        bound.delay(object())


def test_size_limit_is_a_setting(app: Lavoro) -> None:
    app.conf.lavoro_max_argument_size = 2_000_100
    app.send_task("big", ("x" * 2_000_000,))
    with pytest.raises(ValueError, match="2,000,100"):
        app.send_task("big", ("x" * 2_000_200,))


def test_functions_signature_is_not_checked_where_it_is_not_wanted(app: Lavoro, rows: Rows) -> None:
    app.task(add, typing=False).delay()  # type: ignore[call-arg]
    with Lavoro("lax", broker=app.conf.broker_url, strict_typing=False) as lax:
        lax.task(add).delay(1, 2, 3)  # type: ignore[call-arg]
    assert len(rows()) == 2


def test_other_serializers(app: Lavoro, rows: Rows) -> None:
    app.conf.accept_content = ["json", "pickle"]
    result = app.task(add, serializer="pickle").delay({1, 2}, y=3)  # type: ignore[arg-type]
    (row,) = rows()
    assert (row["args"], row["kwargs"]) == (None, None)
    assert row["options"]["content_type"] == "application/x-python-serialize"
    assert (result.args, result.kwargs) == ([{1, 2}], {"y": 3})


def test_send_task_is_never_eager(app: Lavoro, rows: Rows) -> None:
    app.conf.task_always_eager = True
    with pytest.warns(AlwaysEagerIgnored):
        result = app.send_task("elsewhere.task", [1], {"x": 2}, task_id="t1", countdown=60)
    assert result.id == "t1"
    assert [row["name"] for row in rows()] == ["elsewhere.task"]


def test_a_plain_call_heeds_what_changed_since_the_last_one(app: Lavoro, rows: Rows) -> None:
    task = app.task(add)
    task.delay(1)
    app.conf.task_default_queue = "setting"
    task.delay(1)
    task.queue = "attribute"
    task.delay(1)
    task.queue, app.conf.task_routes = None, [lambda name, args, kwargs, options, **_: f"argument{args[0]}"]
    task.delay(1)
    task.delay(2)
    del app.conf["task_routes"]
    task.delay(1)
    app.conf = {"broker_url": app.conf.broker_url, "task_default_queue": "other"}
    task.delay(1)
    assert [row["queue"] for row in rows()] == [
        "celery", "setting", "attribute", "argument1", "argument2", "setting", "other",
    ]  # fmt: skip


def test_an_id_sent_again_changes_nothing(app: Lavoro, rows: Rows) -> None:
    task, own = app.task(add), str(uuid7())
    for task_id in ("order-17", own):
        task.apply_async((1,), task_id=task_id)
        assert task.apply_async((2,), task_id=task_id).id == task_id
    assert [row["args"] for row in rows()] == [[1], [1]]


def test_overridden_apply_async_is_what_delay_calls(app: Lavoro, rows: Rows) -> None:
    class Once(Task[..., Any]):
        def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> AsyncResult[Any]:
            return super().apply_async(args, kwargs, task_id="once", **options)

    task = app.task(add, base=Once)
    assert [task.delay(1).id, task.delay(1).id] == ["once", "once"]
    assert len(rows()) == 1


def test_shadow_name_of_a_subclass(app: Lavoro, rows: Rows) -> None:
    class Named(Task[..., Any]):
        def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str:
            return f"add {args[0]}"

    app.task(add, base=Named).delay(1)
    assert rows()[0]["options"] == {"shadow": "add 1"}


# Many


def test_many_in_batches_keep_their_order(app: Lavoro, rows: Rows) -> None:
    app.conf.lavoro_batch = 100
    results = app.task(add).delay_many(((n,) for n in range(250)), queue="bulk", priority=2, headers={"a": 1})
    stored = rows()
    assert [row["args"] for row in stored] == [[n] for n in range(250)]
    assert [str(row["id"]) for row in stored] == [result.id for result in results]
    assert {(row["queue"], row["priority"], str(row["options"])) for row in stored} == {
        ("bulk", 2, "{'headers': {'a': 1}}")
    }


def test_many_calls_by_keyword(app: Lavoro, rows: Rows) -> None:
    app.task(add).delay_many([{"x": 1}, {"x": 2, "y": 3}, (4, 5)])
    assert [(row["args"], row["kwargs"]) for row in rows()] == [([], {"x": 1}), ([], {"x": 2, "y": 3}), ([4, 5], None)]


def test_many_atomic_or_batch_by_batch(app: Lavoro, rows: Rows) -> None:
    app.conf.lavoro_batch = 10
    task = app.task(add)
    calls = [(n,) for n in range(25)] + [("too", "many", "arguments")]
    with pytest.raises(TypeError, match="too many positional"):
        task.delay_many(calls, atomic=True)
    assert rows() == []
    with pytest.raises(TypeError, match="too many positional"):
        task.delay_many(calls)
    assert len(rows()) == 20
    task.delay_many(calls[:25], atomic=True)
    assert len(rows()) == 45


def test_many_refuse_what_is_no_call(app: Lavoro) -> None:
    task = app.task(add)
    with pytest.raises(TypeError, match="each call must be a tuple"):
        task.delay_many(["ab"])
    with pytest.raises(TypeError, match="each has an id of its own"):
        task.delay_many([(1,)], task_id="one")
    assert task.delay_many([]) == []


def test_routes_may_look_at_the_arguments_of_each_of_many(app: Lavoro, rows: Rows) -> None:
    app.conf.task_routes = (lambda name, args, kwargs, options, task=None: "odd" if args[0] % 2 else None,)
    app.task(add).delay_many([(1,), (2,), (3,)])
    assert [row["queue"] for row in rows()] == ["odd", "celery", "odd"]


@pytest.mark.slow
def test_a_hundred_thousand(app: Lavoro, rows: Rows) -> None:
    results = app.task(add).delay_many(((n, n) for n in range(100_000)), atomic=True)
    assert len({result.id for result in results}) == 100_000
    assert rows("select count(*) from lavoro.waiting")[0]["count"] == 100_000


# Signals


def test_headers_set_by_receivers_travel_with_the_task(app: Lavoro, rows: Rows) -> None:
    seen: list[Any] = []

    @signals.before_task_publish.connect
    def stamp(sender: str, headers: dict[str, Any], body: Any, **_: Any) -> None:
        headers["trace"] = "t1"
        seen.append((sender, body[0], rows()))

    @signals.after_task_publish.connect
    def published(sender: str, headers: dict[str, Any], **_: Any) -> None:
        seen.append((sender, headers["trace"], headers["id"], len(rows())))

    task = app.task(name="add")(add)
    result = task.apply_async((1,), headers={"mine": 1})
    assert seen == [("add", (1,), []), ("add", "t1", result.id, 1)]
    assert rows()[0]["options"]["headers"] == {"mine": 1, "trace": "t1"}
    task.delay_many([(2,), (3,)])
    assert len(seen) == 6
    assert rows()[2]["options"]["headers"] == {"trace": "t1"}


# A server that goes away


def test_threads_call_at_once(app: Lavoro, rows: Rows) -> None:
    task = app.task(add)
    start = threading.Barrier(16)

    def call() -> None:
        start.wait()
        for number in range(25):
            task.delay(number)

    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rows()) == 16 * 25


FORK = """
import os, sys
from lavoro import Lavoro
from lavoro.exceptions import TimeoutError
app = Lavoro("parent", broker=sys.argv[1])
def get(result):
    try:
        result.get(timeout=0.2)
    except TimeoutError:
        pass
get(app.send_task("before"))
child = os.fork()
get(app.send_task("parent" if child else "child"))
if child:
    assert os.waitpid(child, 0)[1] == 0
    app.send_task("after")
"""


def test_forked_processes_call_and_wait(migrated_url: str, rows: Rows) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK, migrated_url], check=True, timeout=60)
    assert {row["name"] for row in rows()} == {"before", "parent", "child", "after"}


def test_unreachable_server_and_missing_tables(database_url: str, cluster: Cluster) -> None:
    nowhere = "postgresql://postgres@127.0.0.1:1/none"
    with (
        Lavoro("lost", broker=nowhere, task_publish_retry=False) as lost,
        pytest.raises(OperationalError, match="127.0.0.1"),
    ):
        lost.task(add).delay(1)
    with Lavoro("bare", broker=database_url) as bare:
        with pytest.raises(SchemaOutdated, match="lavoro migrate"):
            bare.task(add).delay(1)
        migrate(bare.database)
        bare.task(add).delay(1)


def test_calls_outlast_a_restart_of_the_server(own_cluster: Cluster) -> None:
    url = own_cluster.url(own_cluster.create_database())
    migrate(url)
    policy = {"max_retries": None, "interval_start": 0.05, "interval_step": 0, "interval_max": 0.05}
    with Lavoro("shop", broker=url, task_publish_retry_policy=policy) as app:
        task = app.task(add)
        _fill_pool(app, 8)
        own_cluster.stop()
        restart = threading.Thread(target=own_cluster.start)
        restart.start()
        results = [task.delay(number) for number in range(3)]
        restart.join()
        assert [result.state for result in results] == ["PENDING"] * 3
        assert all(result.exists() for result in results)


def test_idle_connections_that_a_restart_has_killed_do_not_fail_a_call(own_cluster: Cluster) -> None:
    url = own_cluster.url(own_cluster.create_database())
    migrate(url)
    with Lavoro("shop", broker=url) as app:
        _fill_pool(app, 8)
        own_cluster.restart()
        assert app.task(add).delay(1).exists()
        _fill_pool(app, 8)
        own_cluster.restart()
        with pytest.raises(OperationalError):
            app.task(add).apply_async((1,), retry=False)


def _fill_pool(app: Lavoro, count: int) -> None:
    """Leave so many idle connections in the application's pool."""
    connections = [app.database.engine.connect() for _ in range(count)]
    for connection in connections:
        connection.close()


def test_get_outlasts_a_restart_of_the_server(own_cluster: Cluster) -> None:
    url = own_cluster.url(own_cluster.create_database())
    migrate(url)
    with Lavoro("shop", broker=url) as app:
        result = app.task(add).apply_async((1,), countdown=3600)
        looks = threading.Semaphore(0)
        failures: list[BaseException] = []

        def wait() -> None:
            try:
                result.get(timeout=60, interval=0.1, on_interval=looks.release)
            except Exception as error:
                failures.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        looks.acquire(timeout=30)
        own_cluster.restart("immediate")
        app.AsyncResult(result.id).revoke()
        waiting.join(timeout=60)
        assert [type(error).__name__ for error in failures] == ["TaskRevokedError"]


def test_nothing_warns(app: Lavoro) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        app.task(add).delay(1)


@pytest.mark.parametrize(
    ("settings", "task", "call", "told"),
    [
        ({}, {"soft_time_limit": 20}, {"time_limit": 10}, "20 s is more than 10 s"),
        ({}, {"time_limit": 10}, {"soft_time_limit": 20}, "20 s is more than 10 s"),
        ({"task_soft_time_limit": 20}, {"time_limit": 10}, {}, "20 s is more than 10 s"),
        ({"task_time_limit": dt.timedelta(seconds=10)}, {"soft_time_limit": 20}, {}, "20 s is more than 10 s"),
        ({"task_time_limit": 10}, {}, {"soft_time_limit": dt.timedelta(seconds=20)}, "20 s is more than 10 s"),
        ({"task_time_limit": 10, "task_soft_time_limit": 20}, {}, {}, "20 s is more than 10 s"),
        ({"task_time_limit": 10}, {"soft_time_limit": 20}, {"time_limit": 20}, None),
        ({"task_time_limit": 10}, {}, {"soft_time_limit": 10}, None),
    ],
)
def test_a_soft_limit_longer_than_the_hard_one_is_refused(
    app: Lavoro, settings: dict[str, Any], task: dict[str, Any], call: dict[str, Any], told: str | None
) -> None:
    """Wherever each of the two comes from; in eager mode too."""

    @app.task(**task)
    def f() -> None: ...

    app.conf.update(settings)
    ways = [lambda: f.apply_async(**call), lambda: f.delay_many([()], **call), lambda: f.apply(**call)]
    for way in [*ways, *([] if call else [f.delay])]:
        if told is None:
            way()
        else:
            with pytest.raises(ValueError, match=f"soft_time_limit must be less than or equal to time_limit: {told}"):
                way()
