"""What a running task knows of itself."""

from __future__ import annotations

import contextvars
import datetime as dt
import threading
import uuid
from types import SimpleNamespace
from typing import Any

import pytest

from lavoro.context import Context, current, request_of
from lavoro.message import Job

UTC = dt.timezone.utc
JOB = Job(
    id=uuid.UUID(int=1), name="a.add", args="[1]", kwargs=None, options=None, payload=None, queue="q", priority=3,
    attempt=2, retries=1, crashes=0, due=dt.datetime(2030, 1, 1, tzinfo=UTC), expires=None, expired=False,
    revoked=False,
)  # fmt: skip
NODE = SimpleNamespace(hostname="node@host", eager=False, report=None)


def request(job: Job = JOB, **options: Any) -> Context:
    return Context.of(job, [1], {"x": 2}, options, node=NODE, outer=None)


def test_the_fields_of_a_claimed_task() -> None:
    found = request()
    assert (found.id, found.task, found.args, found.kwargs) == (str(JOB.id), "a.add", [1], {"x": 2})
    assert (found.retries, found.attempt, found.queue, found.priority) == (1, 2, "q", 3)
    assert (found.hostname, found.called_directly, found.is_eager) == ("node@host", False, False)
    assert (found.root_id, found.parent_id, found.correlation_id) == (str(JOB.id), None, str(JOB.id))
    assert found.timelimit == (None, None)
    assert found.headers is None
    assert repr(found) == f"<Context: a.add[{JOB.id}]>"


def test_options_win_where_they_know_more() -> None:
    found = request(
        task_id="mine", root_id="root", parent_id="parent", time_limit=9.0, soft_time_limit=5.0, group_id="g"
    )
    assert (found.id, found.root_id, found.parent_id, found.correlation_id) == ("mine", "root", "parent", "mine")
    assert found.timelimit == (9.0, 5.0)
    assert found.group == "g"


def test_headers_are_attributes_too_and_unknown_names_are_none() -> None:
    found = request(headers={"trace": "t"}, properties={"own": 1})
    assert found.headers == {"trace": "t"}
    assert found.trace == "t"
    assert found.get("trace") == "t"
    assert found.get("unknown", 7) == 7
    assert found.unknown is None
    assert found.properties == {"correlation_id": str(JOB.id), "priority": 3, "own": 1}
    with pytest.raises(AttributeError):
        _ = found.__unknown__


@pytest.mark.parametrize(
    ("attempt", "retries", "redelivered"), [(1, 0, False), (2, 1, False), (2, 0, True), (4, 2, True)]
)
def test_a_start_more_than_the_retries_is_a_redelivery(attempt: int, retries: int, redelivered: bool) -> None:
    info = request(JOB._replace(attempt=attempt, retries=retries)).delivery_info
    assert info == {"exchange": "", "routing_key": "q", "priority": 3, "redelivered": redelivered}


def test_outside_of_a_worker() -> None:
    found = Context()
    assert (found.id, found.task, found.retries, found.called_directly, found.children) == (None, None, 0, True, [])
    found.update(id="x", own=1)
    assert (found.id, found.own) == ("x", 1)
    assert Context({"root_id": "r"}, task="t").root_id == "r"


def test_children_are_kept() -> None:
    found = request()
    found.children.append("child")
    assert found.children == ["child"]
    assert request().children == []


def test_the_innermost_run_of_a_name() -> None:
    outer = request()
    inner = Context.of(JOB._replace(name="b"), [], {}, {}, node=NODE, outer=outer)
    innermost = Context.of(JOB, [], {}, {}, node=NODE, outer=inner)

    def ask() -> list[Context | None]:
        current.set(innermost)
        return [request_of("a.add"), request_of("b"), request_of("c")]

    assert contextvars.copy_context().run(ask) == [innermost, inner, None]
    assert request_of("a.add") is None


def test_other_threads_have_their_own() -> None:
    seen: list[Context | None] = []
    token = current.set(request())
    thread = threading.Thread(target=contextvars.Context().run, args=(lambda: seen.append(current.get()),))
    thread.start()
    thread.join()
    current.reset(token)
    assert seen == [None]
