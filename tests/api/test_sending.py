"""Sending: `send_task` and what stands in its place, and the signals around publishing."""

from __future__ import annotations

import datetime as dt
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lavoro import AsyncResult, Lavoro, Task, serialization, signals
from lavoro.execution.executor import execute
from lavoro.execution.run_settings import RunSettings
from lavoro.protocol.message import Job
from lavoro.protocol.outcome import Requeued
from tests.api.conftest import Rows

PROTOCOL = {
    "lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id",
    "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting", "stamped_headers",
    "stamps",
}  # fmt: skip


class Tenants(Lavoro):
    """An application whose calls all carry a header."""

    def send_task(self, name: str, args: Any = None, kwargs: Any = None, *more: Any, **options: Any) -> Any:
        options["headers"] = {**(options.get("headers") or {}), "tenant": "a"}
        return super().send_task(name, args, kwargs, *more, **options)


@pytest.fixture
def tenants(migrated_url: str) -> Iterator[Lavoro]:
    with Tenants("tenants", broker=migrated_url) as app:
        yield app


@pytest.fixture
def heard() -> Iterator[Callable[..., None]]:
    """Connect a receiver for the length of a test."""
    connected: list[tuple[Any, Any]] = []

    def connect(signal: Any, receiver: Any) -> None:
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


def add(x: int, y: int = 0) -> int:
    return x + y


def retried(task: Any, job: Job) -> Requeued:
    """Run a job as a worker does, and return what its next try is."""
    ended = execute(task, job, RunSettings("worker@here"))
    assert isinstance(ended, Requeued)
    return ended


def job_of(row: dict[str, Any], **changes: Any) -> Job:
    """The row as a worker claims it."""
    encoded = {name: None if row[name] is None else _json(row[name]) for name in ("args", "kwargs", "options")}
    plain = Job(
        **encoded, attempt=1, expired=False, revoked=False, **{name: row[column] for name, column in _PLAIN.items()}
    )
    return plain._replace(**changes)


_PLAIN = {
    **{name: name for name in ("id", "name", "payload", "queue", "priority", "retries", "crashes")},
    "due": "due_at",
    "expires": "expires_at",
}


def _json(value: Any) -> str:
    return serialization.dumps(value)


# send_task


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ("ab", None, "task args must be a list or tuple"),
        (5, None, "task args must be a list or tuple"),
        ((), [1], "task keyword arguments must be a mapping"),
    ],
)
def test_arguments_of_a_wrong_form_are_refused(app: Lavoro, rows: Rows, args: Any, kwargs: Any, words: str) -> None:
    for send in (app.send_task, lambda _, args, kwargs: app.task(add).apply_async(args, kwargs)):
        with pytest.raises(TypeError, match=words):
            send("shop.add", args, kwargs)
    assert rows() == []


def test_positional_arguments_have_celerys_order(app: Lavoro, rows: Rows) -> None:
    class Mine:
        def __init__(self, id: str) -> None:
            self.id = id

    eta = dt.datetime(2040, 1, 1, tzinfo=dt.timezone.utc)
    found: Any = app.send_task("a", (1,), {"y": 2}, None, eta, "my id", None, None, None, Mine, 3600)
    assert (type(found), found.id) == (Mine, "my id")
    app.send_task("b", (), {}, 60)
    first, second = rows()
    if first["name"] == "b":
        first, second = second, first
    assert (first["args"], first["kwargs"], first["due_at"]) == ([1], {"y": 2}, eta)
    assert first["expires_at"] is not None
    assert second["due_at"] > dt.datetime.now(dt.timezone.utc)


def test_expires_of_none_removes_the_tasks_own(app: Lavoro, rows: Rows) -> None:
    app.task(add, name="late", expires=60)
    app.send_task("late", (1,))
    app.send_task("late", (1,), expires=None)
    assert [row["expires_at"] is None for row in rows()] == [False, True]


def test_route_name_routes(app: Lavoro, rows: Rows) -> None:
    app.conf.task_routes = {"mail.*": "mail"}
    app.send_task("add", route_name="mail.send")
    assert [(row["name"], row["queue"]) for row in rows()] == [("add", "mail")]


# What stands in its place


def test_calls_go_through_a_subclasss_send_task(tenants: Lavoro, rows: Rows) -> None:
    task = tenants.task(add, name="add", queue="sums")
    results = [task.delay(1), task.apply_async((2,), headers={"x": 1}, countdown=60), *task.delay_many([(3,), (4,)])]
    task.delay_many([(5,)], atomic=True)
    found = {row["args"][0]: row for row in rows()}
    assert [found[n]["options"]["headers"] for n in range(1, 6)] == [
        {"tenant": "a"}, {"x": 1, "tenant": "a"}, {"tenant": "a"}, {"tenant": "a"}, {"tenant": "a"},
    ]  # fmt: skip
    assert {row["queue"] for row in found.values()} == {"sums"}
    assert [str(found[n + 1]["id"]) for n in range(4)] == [result.id for result in results]
    assert all(type(result) is tenants.AsyncResult for result in results)


def test_atomic_calls_stay_so(tenants: Lavoro, rows: Rows) -> None:
    task = tenants.task(add, name="add")
    with pytest.raises(TypeError):
        task.delay_many([(1,), (1, 2, 3)], atomic=True)
    assert rows() == []


def test_an_assignment_or_a_patch_takes_its_place_too(app: Lavoro, monkeypatch: pytest.MonkeyPatch) -> None:
    task, seen = app.task(add, name="add"), []

    def send_task(*args: Any, **options: Any) -> str:
        seen.append((args, options["task_type"]))
        return "sent"

    with monkeypatch.context() as patch:
        patch.setattr(app, "send_task", send_task)
        assert task.delay(1) == "sent"
    with monkeypatch.context() as patch:
        patch.setattr(Lavoro, "send_task", lambda self, *args, **options: send_task(*args, **options))
        assert task.apply_async((2,)) == "sent"
    assert seen == [(("add", (1,), {}), task), (("add", (2,), {}), task)]
    assert app.replaced_send_task is None


def test_retries_go_through_it(tenants: Lavoro, rows: Rows) -> None:
    @tenants.task(bind=True, name="again")
    def again(self: Task[..., Any], x: int) -> None:
        raise self.retry(countdown=5, headers={"try": self.request.retries + 1}, args=(x + 1,))

    again.apply_async((1,), shadow="shown", priority=4)
    (row,) = rows()
    back = retried(again, job_of(row))
    options = _loaded(back.options)
    assert options.pop("eta") is not None
    assert options == {"shadow": "shown", "ignore_result": False, "headers": {"try": 1, "tenant": "a"}}
    assert (back.args, back.countdown, back.priority, back.queue) == ("[2]", 5, 4, "celery")
    assert len(rows()) == 1


def _loaded(text: str | None) -> Any:
    return serialization.loads(text or "{}")


def test_a_subclass_that_sends_nothing_does_not_end_the_retries(app: Lavoro, monkeypatch: pytest.MonkeyPatch) -> None:
    @app.task(bind=True, name="again")
    def again(self: Task[..., Any]) -> None:
        raise self.retry(countdown=5)

    monkeypatch.setattr(app, "send_task", lambda *args, **options: None)
    assert retried(again, JOB).countdown == 5


class Grouped(Task[..., Any]):
    """Adds a property to each call."""

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> AsyncResult[Any]:
        options.setdefault("group", f"{self._get_app().main}-{options.get('retries', 0)}")
        return super().apply_async(args, kwargs, **options)


def test_retries_go_through_a_tasks_own_apply_async(app: Lavoro, rows: Rows) -> None:
    @app.task(bind=True, base=Grouped, name="again")
    def again(self: Task[..., Any], x: int) -> None:
        raise self.retry(countdown=5, args=(x + 1,), queue="later")

    again.apply_async((1,), priority=4, headers={"try": 0})
    (row,) = rows()
    assert row["options"]["properties"] == {"group": f"{app.main}-0"}
    back = retried(again, job_of(row))
    options = _loaded(back.options)
    assert (options["properties"], options["headers"]) == ({"group": f"{app.main}-1"}, {"try": 0})
    assert (back.args, back.countdown, back.priority, back.queue) == ("[2]", 5, 4, "later")
    assert len(rows()) == 1


def test_a_task_that_sends_nothing_itself_is_retried_all_the_same(app: Lavoro) -> None:
    class Once(Task[..., Any]):
        def apply_async(self, *args: Any, **options: Any) -> Any:
            return None

    @app.task(bind=True, base=Once, name="again")
    def again(self: Task[..., Any]) -> None:
        raise self.retry(countdown=5)

    assert retried(again, JOB).countdown == 5


JOB = Job(
    id=uuid.UUID(int=7), name="again", args="[]", kwargs=None, options=None, payload=None, queue="q",
    priority=0, attempt=1, retries=0, crashes=0, due=dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc), expires=None,
    expired=False, revoked=False,
)  # fmt: skip


# Signals


def test_receivers_see_what_celery_shows(app: Lavoro, heard: Callable[..., None]) -> None:
    seen: list[dict[str, Any]] = []
    heard(signals.before_task_publish, lambda **named: seen.append(named))
    heard(signals.after_task_publish, lambda **named: seen.append(named))
    task = app.task(add, name="add", time_limit=50)
    result = task.delay(1, y=2)
    before, after = seen
    headers = before["headers"]
    assert set(headers) == PROTOCOL
    assert (headers["id"], headers["root_id"], headers["task"], headers["lang"]) == (result.id, result.id, "add", "py")
    assert (headers["argsrepr"], headers["kwargsrepr"], headers["timelimit"]) == ("(1,)", "{'y': 2}", [50, None])
    assert headers["origin"] == f"gen{os.getpid()}@{socket.gethostname()}"
    assert (headers["eta"], headers["expires"], headers["ignore_result"], headers["stamps"]) == (None, None, False, {})
    assert before["properties"] == {"correlation_id": result.id, "reply_to": ""}
    assert before["body"][:2] == ((1,), {"y": 2})
    assert before["body"][2] == {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    assert (before["sender"], before["exchange"], before["routing_key"]) == ("add", "", "celery")
    assert before["retry_policy"] == app.conf.task_publish_retry_policy
    assert (after["headers"], after["body"], after["sender"]) == (headers, before["body"], "add")


def test_receivers_see_the_options(app: Lavoro, heard: Callable[..., None]) -> None:
    seen: list[dict[str, Any]] = []
    heard(signals.before_task_publish, lambda **named: seen.append(named))
    app.task(add, name="add").apply_async(
        (1,), countdown=60, expires=dt.datetime(2040, 1, 1), headers={"h": 1}, time_limit=30, soft_time_limit=20,
        shadow="shown", priority=3, foo="bar", group_id="g", reply_to="rt", root_id="rr", queue="other",
        correlation_id="cc", task_id="my id", retry_policy={"max_retries": 1}, argsrepr="(<x>,)",
    )  # fmt: skip
    ((named, headers),) = [(named, named["headers"]) for named in seen]
    names = ("id", "h", "shadow", "group", "root_id", "timelimit", "argsrepr", "expires")
    assert [headers[name] for name in names] == [
        "my id", 1, "shown", "g", "rr", [30, 20], "(<x>,)", "2040-01-01T00:00:00",
    ]  # fmt: skip
    assert dt.datetime.fromisoformat(headers["eta"]) > dt.datetime.now(dt.timezone.utc)
    assert named["properties"] == {"correlation_id": "cc", "reply_to": "rt", "priority": 3, "foo": "bar"}
    assert (named["routing_key"], named["retry_policy"]["max_retries"]) == ("other", 1)


def test_secrets_are_hidden_from_receivers(app: Lavoro, heard: Callable[..., None]) -> None:
    seen: list[str] = []
    heard(signals.before_task_publish, lambda headers, **_: seen.append(headers["argsrepr"] + headers["kwargsrepr"]))
    app.task(lambda user, password, **more: None, name="login").delay("ann", "1234", token="5678")
    assert seen == ["('ann', '***'){'token': '***'}"]


def test_what_receivers_change_reaches_the_task(app: Lavoro, heard: Callable[..., None], rows: Rows) -> None:
    def change(headers: dict[str, Any], properties: dict[str, Any], body: Any, **_: Any) -> None:
        headers.update(
            trace="t", shadow="shown", group="g", root_id="rr", expires="2040-01-01T00:00:00+00:00", retries=2,
            eta="2030-01-01T00:00:00+00:00", timelimit=[9, 5], ignore_result=True, id="another id", task="other",
        )  # fmt: skip
        headers.pop("gone")
        properties.update(priority=7, correlation_id="cc", own=1)
        body[0].append(2)
        body[1]["y"] = 3

    heard(signals.before_task_publish, change)
    result = app.task(add, name="add").apply_async([1], headers={"gone": 1})
    (row,) = rows()
    assert (row["name"], row["args"], row["kwargs"], row["priority"], row["retries"]) == (
        "other",
        [1, 2],
        {"y": 3},
        7,
        2,
    )
    assert (row["due_at"].year, row["expires_at"].year) == (2030, 2040)
    assert row["options"] == {
        "headers": {"trace": "t"}, "properties": {"own": 1}, "shadow": "shown", "group_id": "g",
        "root_id": "rr", "time_limit": 9, "soft_time_limit": 5, "ignore_result": True, "correlation_id": "cc",
        "task_id": "another id", "eta": "2030-01-01T00:00:00+00:00", "expires": "2040-01-01T00:00:00+00:00",
    }  # fmt: skip
    assert (result.id, result.kwargs) == ("another id", {"y": 3})


def test_receivers_are_told_of_retries(app: Lavoro, heard: Callable[..., None], rows: Rows) -> None:
    @app.task(bind=True, name="again")
    def again(self: Task[..., Any]) -> None:
        raise self.retry(countdown=0)

    seen: list[Any] = []

    def stamp(headers: dict[str, Any], **_: Any) -> None:
        seen.append((headers["id"], headers["retries"], headers.get("stamp"), headers["parent_id"]))
        headers["stamp"] = headers["retries"]

    heard(signals.before_task_publish, stamp)
    heard(signals.after_task_publish, lambda headers, **_: seen.append(headers["stamp"]))
    id = again.delay().id
    (row,) = rows()
    back = retried(again, job_of(row))
    assert _loaded(back.options)["headers"] == {"stamp": 1}
    assert seen == [(id, 0, None, None), 0, (id, 1, 0, None), 1]


def test_headers_that_a_run_changes_are_kept_by_its_retry(app: Lavoro) -> None:
    @app.task(bind=True, name="again")
    def again(self: Task[..., Any]) -> None:
        self.request.headers = {**(self.request.headers or {}), "tries": 1}
        raise self.retry()

    assert _loaded(retried(again, JOB).options)["headers"] == {"tries": 1}


def test_after_task_publish_of_many_has_their_bodies(app: Lavoro, heard: Callable[..., None]) -> None:
    seen: list[Any] = []
    heard(signals.after_task_publish, lambda body, headers, **_: seen.append((body[:2], headers["argsrepr"])))
    app.conf.update(accept_content=["json", "pickle"], lavoro_batch=2)
    task = app.task(add, name="add", serializer="pickle")
    for atomic in (False, True):
        seen.clear()
        task.delay_many([(1,), (2,), {"x": 3}], atomic=atomic)
        assert seen == [(((1,), {}), "(1,)"), (((2,), {}), "(2,)"), (((), {"x": 3}), "()")]
