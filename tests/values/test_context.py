"""What a running task knows of itself."""

from __future__ import annotations

import contextvars
import datetime as dt
import threading
import uuid
from types import SimpleNamespace
from typing import Any

import pytest

from lavoro.execution.context import Context, current, request_of
from lavoro.protocol.message import Job

UTC = dt.timezone.utc
JOB = Job(
    id=uuid.UUID(int=1), name="a.add", args="[1]", kwargs=None, options=None, payload=None, queue="q", priority=3,
    attempt=2, retries=1, crashes=0, due=dt.datetime(2030, 1, 1, tzinfo=UTC), expires=None, expired=False,
    revoked=False,
)  # fmt: skip
NODE = SimpleNamespace(hostname="node@host", eager=False, report=None)


def request(job: Job = JOB, **options: Any) -> Context:
    return Context.of(job, [1], {"x": 2}, options, settings=NODE, outer=None)


def test_the_fields_of_a_claimed_task() -> None:
    found = request()
    assert (found.id, found.task, found.args, found.kwargs) == (str(JOB.id), "a.add", [1], {"x": 2})
    assert (found.retries, found.attempt, found.queue, found.priority) == (1, 2, "q", 3)
    assert (found.hostname, found.called_directly, found.is_eager) == ("node@host", False, False)
    assert (found.root_id, found.parent_id, found.correlation_id) == (str(JOB.id), None, str(JOB.id))
    assert (found.timelimit, found.eta, found.expires, found.utc, found.lang) == ([None, None], None, None, None, "py")
    assert (found.argsrepr, found.kwargsrepr, found.stamps, found.replaced_task_nesting) == ("(1,)", "{'x': 2}", {}, 0)
    assert found.headers is None
    assert repr(found) == f"<Context: a.add[{JOB.id}]>"


def test_options_win_where_they_know_more() -> None:
    found = request(
        task_id="mine", root_id="root", parent_id="parent", time_limit=9.0, soft_time_limit=5.0, group_id="g"
    )
    assert (found.id, found.root_id, found.parent_id, found.correlation_id) == ("mine", "root", "parent", "mine")
    assert (found.timelimit, found.time_limit, found.soft_time_limit) == ([9.0, 5.0], 9.0, 5.0)
    assert found.group == "g"


def test_what_the_task_object_declares() -> None:
    declared = SimpleNamespace(
        time_limit=50, soft_time_limit=None, ignore_result=True, __shown__=lambda a, k: ("A", "K")
    )
    found = Context.of(JOB, [1], {}, {"soft_time_limit": 5}, settings=NODE, outer=None, declared=declared)
    assert (found.timelimit, found.time_limit, found.soft_time_limit) == ([50, 5], 50, 5)
    assert (found.ignore_result, found.argsrepr, found.kwargsrepr) == (True, "A", "K")


def test_times_are_iso_text() -> None:
    job = JOB._replace(expires=dt.datetime(2040, 1, 1, tzinfo=UTC))
    assert request(job).expires == "2040-01-01T00:00:00+00:00"
    found = request(job, eta="2030-01-01T00:00:00", expires="2040-01-01")
    assert (found.eta, found.expires) == ("2030-01-01T00:00:00", "2040-01-01")


def test_every_field_can_be_set() -> None:
    names = (
        "args", "callbacks", "called_directly", "chain", "children", "chord", "correlation_id", "delivery_info",
        "errbacks", "eta", "expires", "group", "group_index", "headers", "hostname", "id", "ignore_result", "is_eager",
        "kwargs", "lang", "logfile", "loglevel", "origin", "parent_id", "properties", "replaced_task_nesting",
        "reply_to", "retries", "root_id", "shadow", "soft_time_limit", "stamped_headers", "stamps", "task", "taskset",
        "time_limit", "utc",
    )  # fmt: skip
    for made in (request(), Context()):
        for name in names:
            getattr(made, name)
            setattr(made, name, f"my {name}")
        assert [getattr(made, name) for name in names] == [f"my {name}" for name in names]
    assert [getattr(Context({name: 1}), name) for name in names] == [1] * len(names)


def test_limits_are_set_together() -> None:
    found = Context(timelimit=(10, 5))
    assert (found.time_limit, found.soft_time_limit) == (10, 5)
    found.update(timelimit=None)
    assert (found.time_limit, found.soft_time_limit) == (None, None)
    found.update({"time_limit": 3}, retries=2)
    assert (found.time_limit, found.retries) == (3, 2)


def test_unknown_fields_are_headers() -> None:
    assert Context({"tenant": "a", "id": "1"}, site=2).headers == {"tenant": "a", "site": 2}
    assert Context(tenant="a", headers={}).headers == {}
    assert Context().headers is None


def test_clear() -> None:
    found = request(headers={"trace": "t"})
    assert found.trace == "t"
    found.clear()
    assert (found.id, found.args, found.headers, found.called_directly) == (None, None, None, True)
    assert found.get("trace", "none") == "none"


def test_as_execution_options() -> None:
    assert request(headers={"trace": "t"}, group_id="g", time_limit=9.0).as_execution_options() == {
        "task_id": str(JOB.id), "root_id": str(JOB.id), "parent_id": None, "group_id": "g", "group_index": None,
        "shadow": None, "chord": None, "chain": None, "link": None, "link_error": None, "expires": None,
        "soft_time_limit": None, "time_limit": 9.0, "headers": {"trace": "t"}, "retries": 1, "reply_to": None,
        "replaced_task_nesting": 0, "origin": None,
    }  # fmt: skip
    assert Context().as_execution_options()["headers"] == {}


def test_headers_are_attributes_too_and_unknown_names_raise() -> None:
    found = request(headers={"trace": "t"}, properties={"own": 1})
    assert found.headers == {"trace": "t"}
    assert found.trace == "t"
    assert found.get("trace") == "t"
    assert found.get("unknown", 7) == 7
    assert found.get("chord", 7) is None
    for name in ("unknown", "content_type"):
        with pytest.raises(AttributeError, match=f"no field and no header '{name}'"):
            getattr(found, name)
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
    inner = Context.of(JOB._replace(name="b"), [], {}, {}, settings=NODE, outer=outer)
    innermost = Context.of(JOB, [], {}, {}, settings=NODE, outer=inner)

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


def test_stamps_without_a_declared_name_are_no_options() -> None:
    request = Context(retries=2, stamped_headers=["team"], stamps={"team": "payments", "retries": 99})
    options = request.as_execution_options()
    assert (options["retries"], options["team"], options["stamped_headers"]) == (2, "payments", ["team"])
