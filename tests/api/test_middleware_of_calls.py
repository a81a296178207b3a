"""Middleware around calls, on every way in which a task is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from lavoro import Lavoro, Task, chain, chord, group, signals
from lavoro.exceptions import AlwaysEagerIgnored
from lavoro.middleware import Middleware, RunCall, SendCall
from lavoro.result import AsyncResult
from lavoro.testing import worker
from tests.api.conftest import Rows
from tests.conftest import Eventually

PATIENCE = 30.0
Proceed = Callable[[SendCall], Any]


class Header(Middleware):
    """Adds a header to each call, and writes the calls down."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, call: SendCall, proceed: Proceed) -> Any:
        call.headers["by"] = [*call.headers.get("by", []), "middleware"]
        self.sent.append(call.name)
        return proceed(call)


@pytest.fixture
def header(app: Lavoro) -> Header:
    return app.middleware.add(Header())


def headers(rows: Rows) -> list[Any]:
    return [(row["options"] or {}).get("headers") for row in rows()]


ONCE = {"by": ["middleware"]}


class Overriding(Task[..., Any]):
    """Has a way of its own to send, which calls the usual one."""

    abstract = True

    def apply_async(self, *args: Any, **options: Any) -> Any:
        return super().apply_async(*args, **options)


class Site(Lavoro):
    """Has one, too."""

    def send_task(self, *args: Any, **options: Any) -> Any:
        return super().send_task(*args, **options)


def joined(app: Lavoro, add: Any) -> None:
    with psycopg.connect(app.conf.broker_url) as connection, app.transaction(connection):
        add.delay(1, 2)


SINGLE: dict[str, Callable[[Lavoro, Any], Any]] = {
    "delay": lambda app, add: add.delay(1, 2),
    "apply_async": lambda app, add: add.apply_async((1,), {"y": 2}, priority=3),
    "a list of arguments": lambda app, add: add.apply_async([1, 2]),
    "send_task": lambda app, add: app.send_task("add", (1, 2)),
    "send_task of an unknown name": lambda app, add: app.send_task("unknown", (1, 2)),
    "delay_many": lambda app, add: add.delay_many([(1, 2)]),
    "atomic": lambda app, add: add.delay_many([(1, 2)], atomic=True),
    "signature": lambda app, add: add.s(1, 2).delay(),
    "by name": lambda app, add: app.signature("unknown", (1, 2)).delay(),
    "in a transaction": joined,
    "with its own apply_async": lambda app, add: app.task(name="own", base=Overriding)(int).delay(1),
}


@pytest.mark.parametrize("way", SINGLE)
def test_each_call_passes_once(app: Lavoro, header: Header, rows: Rows, way: str) -> None:
    add = app.task(name="add")(lambda x, y: x + y)
    SINGLE[way](app, add)
    assert headers(rows) == [ONCE]
    assert len(header.sent) == 1


def test_an_application_with_its_own_send_task(migrated_url: str, rows: Rows) -> None:
    with Site("site", broker=migrated_url, middleware=[header := Header()], set_as_current=False) as app:
        task = app.task(name="add")(lambda x: x)
        task.delay(1)
        app.send_task("add", (1,))
        task.delay_many([(1,), (2,)])
    assert headers(rows) == [ONCE] * 4
    assert header.sent == ["add"] * 4


def test_calls_may_be_changed(app: Lavoro, rows: Rows) -> None:
    given = {"tenant": "a"}

    @app.middleware.around_send
    def change(call: SendCall, proceed: Proceed) -> Any:
        call.args = (*call.args, 2)
        call.kwargs["z"] = 3
        call.options["queue"] = "slow"
        call.headers["tenant"] = "b"
        return {"result": proceed(call)}

    add = app.task(name="add")(lambda x, y, z: x + y + z)
    result: Any = add.apply_async((1,), headers=given)
    (row,) = rows()
    assert (row["args"], row["kwargs"], row["queue"]) == ([1, 2], {"z": 3}, "slow")
    assert row["options"]["headers"] == {"tenant": "b"}
    assert isinstance(result["result"], AsyncResult)
    assert given == {"tenant": "a"}
    with pytest.raises(TypeError, match="multiple values"):
        add.delay(1, 2, 3)
    assert len(rows()) == 1


def test_the_order_and_the_errors(app: Lavoro, rows: Rows) -> None:
    told: list[str] = []

    class Told(Middleware):
        def __init__(self, name: str) -> None:
            self.name = name

        def send(self, call: SendCall, proceed: Proceed) -> Any:
            told.append(f"{self.name} begins")
            try:
                if call.args == ("refuse",) and self.name == "inner":
                    raise PermissionError("no")
                return proceed(call)
            finally:
                told.append(f"{self.name} ends")

    app.middleware.extend([Told("outer"), Told("inner")])
    task = app.task(name="one")(lambda x: x)
    task.delay("fine")
    order = ["outer begins", "inner begins", "inner ends", "outer ends"]
    assert (told, len(rows())) == (order, 1)
    calls: list[Callable[[], Any]] = [
        lambda: task.delay("refuse"),
        lambda: task.delay_many([("fine",), ("refuse",)]),
        lambda: group(task.s("fine"), task.s("refuse")).delay(),
    ]
    for call in calls:
        with pytest.raises(PermissionError):
            call()
    assert len(rows()) == 1  # all of them or none


def test_a_call_may_be_answered_without_being_sent(app: Lavoro, rows: Rows) -> None:
    @app.middleware.around_send
    def known(call: SendCall, proceed: Proceed) -> Any:
        return app.AsyncResult("known")

    task = app.task(name="one")(lambda x=0: x)
    assert task.delay().id == "known"
    assert [result.id for result in task.delay_many([(1,), (2,)])] == ["known", "known"]
    with pytest.raises(RuntimeError, match="the middleware did not send one, for which a canvas or schedule waits"):
        chord([task.s(1)], task.s()).delay()
    assert rows() == []


def test_many_calls_are_stored_in_batches(app: Lavoro, header: Header, rows: Rows) -> None:
    app.conf.lavoro_batch = 3
    task = app.task(name="one")(lambda x=0: x)
    results = task.delay_many([(number,) for number in range(8)], headers={"own": 1}, ignore_result=True)
    assert [row["args"] for row in rows()] == [[number] for number in range(8)]
    assert [result.id for result in results] == [str(row["id"]) for row in rows()]
    assert len(rows("select distinct xmin::text from lavoro.waiting")) == 3
    assert headers(rows) == [{"own": 1, **ONCE}] * 8
    assert all(result.ignored for result in results)
    with psycopg.connect(app.conf.broker_url) as connection:
        task.delay_many([(1,)], connection=connection)
        connection.rollback()
    with pytest.raises(TypeError):
        task.delay_many([(1,), (1, 2)], atomic=True)
    assert len(rows()) == 8


def test_signals_see_what_the_middleware_has_changed(app: Lavoro, header: Header, rows: Rows) -> None:
    seen: list[Any] = []

    def hear(headers: Any, **_: Any) -> None:
        seen.append(headers.get("by"))

    task = app.task(name="one")(lambda x=0: x)
    with signals.before_task_publish.connected_to(hear), signals.after_task_publish.connected_to(hear):
        task.delay()
        task.delay_many([(1,), (2,)])
    assert seen == [["middleware"]] * 6


# Where tasks run

WAYS: dict[str, Callable[[Any], Any]] = {
    "single": lambda kit: kit.seen.delay(),
    "first step": lambda kit: chain(kit.seen.si(), kit.plain.si()).delay(),
    "next step": lambda kit: chain(kit.plain.si(), kit.seen.si()).delay(),
    "step behind a group": lambda kit: (group(kit.plain.si(), kit.plain.si()) | kit.seen.si()).delay(),
    "member": lambda kit: group(kit.plain.si(), kit.seen.si()).delay(),
    "member of a header": lambda kit: chord([kit.seen.si(), kit.plain.si()], kit.plain.si()).delay(),
    "body": lambda kit: chord([kit.plain.si()], kit.seen.si()).delay(),
    "link": lambda kit: kit.plain.apply_async(link=kit.seen.si()),
    "link_error": lambda kit: kit.fails.apply_async(link_error=kit.seen.si()),
    "replacement": lambda kit: kit.replaces.delay(),
    "child": lambda kit: kit.calls.delay(),
    "retry": lambda kit: kit.seen.delay(again=True),
    "retry through apply_async": lambda kit: kit.own.delay(again=True),
    "eager": lambda kit: kit.seen.apply(),
}


class Kit:
    """Tasks, and the headers that the runs of ``seen`` had."""

    def __init__(self, app: Lavoro) -> None:
        self.app = app
        self.runs: list[Any] = []
        self.passed: list[str] = []

        def seen(self_: Task[..., Any], again: bool = False) -> None:
            self.runs.append(self_.request.by)
            if again and not self_.request.retries:
                raise self_.retry(countdown=0)

        self.seen = app.task(name="seen", bind=True, ignore_result=False)(seen)
        self.own = app.task(name="own", bind=True, base=Overriding)(seen)
        self.plain = app.task(name="plain")(lambda *args: 1)
        self.fails = app.task(name="fails")(lambda *args: 1 / 0)
        self.replaces = app.task(name="replaces", bind=True)(lambda self_: self_.replace(self.seen.si()))
        self.calls = app.task(name="calls")(lambda: self.seen.delay().id)

        class Watch(Header):
            def run(self_, call: RunCall, proceed: Callable[[RunCall], Any]) -> Any:
                try:
                    return proceed(call)
                finally:
                    self.passed.append(call.name)

        app.middleware.add(Watch())


@pytest.fixture
def kit(app: Lavoro) -> Iterator[Kit]:
    kit = Kit(app)
    with worker(app, pool="threads", concurrency=2):
        yield kit


def test_each_way_to_a_run_passes_once(kit: Kit, eventually: Eventually) -> None:
    """A retry is no new call, and each try is a run."""
    for way, send in WAYS.items():
        kit.runs.clear()
        kit.passed.clear()
        send(kit)
        tries = 2 if "retry" in way else 1
        eventually(lambda tries=tries: len([name for name in kit.passed if name in ("seen", "own")]) == tries)
        assert (way, kit.runs) == (way, [["middleware"]] * tries)


def test_the_tick_of_a_schedule_passes_once(app: Lavoro, eventually: Eventually) -> None:
    kit = Kit(app)
    app.conf.beat_schedule = {"often": {"task": "seen", "schedule": 0.2}}
    with worker(app, pool="threads", concurrency=2, beat=True):
        eventually(lambda: len(kit.runs) > 1)
    assert kit.runs[:2] == [["middleware"]] * 2


@pytest.mark.parametrize("way", [way for way in WAYS if "retry" not in way])
def test_each_way_in_eager_mode(app: Lavoro, way: str) -> None:
    app.conf.task_always_eager = True
    kit = Kit(app)
    WAYS[way](kit)
    assert kit.runs == [["middleware"]]
    assert [name for name in kit.passed if name == "seen"] == ["seen"]


@pytest.mark.filterwarnings("always::lavoro.exceptions.AlwaysEagerIgnored")
def test_send_task_warns_once_in_eager_mode(app: Lavoro, header: Header, rows: Rows) -> None:
    app.conf.task_always_eager = True
    with pytest.warns(AlwaysEagerIgnored) as told:
        app.send_task("add")
    assert (len(told), headers(rows)) == (1, [ONCE])
