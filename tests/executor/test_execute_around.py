"""Around a run: signals and handlers hear of it, and nothing of it is left behind."""

from __future__ import annotations

import contextvars
import json
from typing import Any

import pytest

from lavoro import Lavoro, Task, signals
from lavoro.exceptions import (
    Ignore,
    Reject,
    Retry,
    WorkerLostError,
)
from lavoro.execution.context import current
from lavoro.execution.executor import Cancelled, OutOfTime, execute, handle_end
from lavoro.protocol.message import Job
from tests.executor.run import NODE, error_of, finished, given_back, job_of

# Signals and handlers


class Telling(Task[Any, Any]):
    """A task whose handlers tell that they were called, among the signals."""

    abstract = True
    told: list[tuple[str, Any]]

    def before_start(self, *about: Any) -> None:
        self.told.append(("before_start", about))

    def on_success(self, *about: Any) -> None:
        self.told.append(("on_success", about))

    def on_failure(self, *about: Any) -> None:
        self.told.append(("on_failure", about))

    def on_retry(self, *about: Any) -> None:
        self.told.append(("on_retry", about))

    def after_return(self, *about: Any) -> None:
        self.told.append(("after_return", about))


@pytest.mark.parametrize(
    ("raised", "order"),
    [
        (None, ["task_prerun", "before_start", "on_success", "task_success", "after_return", "task_postrun"]),
        (
            ValueError("x"),
            ["task_prerun", "before_start", "on_failure", "task_failure", "after_return", "task_postrun"],
        ),
        (Retry("x"), ["task_prerun", "before_start", "on_retry", "task_retry", "task_postrun"]),
        (Ignore(), ["task_prerun", "before_start", "task_postrun"]),
        (Reject("x"), ["task_prerun", "before_start", "task_postrun", "task_failure"]),
        (Reject("x", requeue=True), ["task_prerun", "before_start", "task_postrun"]),
        (Cancelled(), ["task_prerun", "before_start", "task_revoked", "task_postrun"]),
    ],
)
def test_who_is_told_in_which_order(
    app: Lavoro, heard: list[tuple[str, Any]], raised: BaseException | None, order: list[str]
) -> None:
    Telling.told = heard

    @app.task(base=Telling)
    def run(x: int) -> int:
        heard.append(("run", x))
        if raised is not None:
            raise raised
        return x

    execute(run, job_of(run, 1), NODE)
    order.insert(2, "run")
    assert [name for name, _ in heard] == order


def test_what_they_are_told(app: Lavoro, heard: list[tuple[str, Any]]) -> None:
    Telling.told = heard

    @app.task(base=Telling)
    def run(x: int, y: int) -> int:
        if y == 0:
            raise ZeroDivisionError("zero")
        return x // y

    job = job_of(run, 6, kwargs='{"y": 3}')
    execute(run, job, NODE)
    told, id, args, kwargs = dict(heard), str(job.id), [6], {"y": 3}
    assert told["before_start"] == (id, args, kwargs)
    assert told["on_success"] == (2, id, args, kwargs)
    assert told["after_return"] == ("SUCCESS", 2, id, args, kwargs, None)
    assert told["task_prerun"]["task"] is told["task_prerun"]["sender"] is run
    assert told["task_postrun"] == {
        "signal": signals.task_postrun, "sender": run, "task_id": id, "task": run, "args": args, "kwargs": kwargs,
        "retval": 2, "state": "SUCCESS",
    }  # fmt: skip
    success = told["task_success"]
    assert (success["result"], 0 < success["runtime"] < 30) == (2, True)

    heard.clear()
    job = job_of(run, 6, 0)
    execute(run, job, NODE)
    told, id, args, kwargs = dict(heard), str(job.id), [6, 0], {}
    error, *rest, info = told["on_failure"]
    assert isinstance(error, ZeroDivisionError)
    assert rest == [id, args, kwargs]
    assert info.exception is error
    assert "ZeroDivisionError: zero" in info.traceback
    assert told["after_return"] == ("FAILURE", error, id, args, kwargs, info)
    failure = told["task_failure"]
    assert (failure["exception"], failure["einfo"], failure["task_id"]) == (error, info, id)
    assert failure["traceback"] is error.__traceback__


def test_the_traceback_of_a_rejected_task_is_text(app: Lavoro, heard: list[tuple[str, Any]]) -> None:
    @app.task
    def refuse() -> None:
        raise Reject("bad")

    execute(refuse, job_of(refuse), NODE)
    failure = dict(heard)["task_failure"]
    assert failure["traceback"] == failure["einfo"].traceback
    assert "Reject: " in failure["traceback"]


def test_the_traceback_of_a_lost_task_is_text(app: Lavoro, heard: list[tuple[str, Any]]) -> None:
    @app.task
    def held() -> None: ...

    handle_end(held, job_of(held), NODE, WorkerLostError("gone"))
    assert "WorkerLostError: gone" in dict(heard)["task_failure"]["traceback"]


def test_a_handler_that_fails_changes_nothing(app: Lavoro, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Task[Any, Any]):
        abstract = True

        def on_success(self, *about: Any) -> None:
            raise RuntimeError("broken handler")

        after_return = on_success

    @app.task(base=Broken)
    def run() -> int:
        return 1

    assert finished(run).state == "SUCCESS"
    assert [record.message.split()[0] for record in caplog.records if record.exc_info] == ["on_success", "after_return"]


def test_before_start_may_stop_the_task(app: Lavoro) -> None:
    class Strict(Task[Any, Any]):
        abstract = True

        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            raise PermissionError("not here")

    @app.task(base=Strict)
    def run() -> None:
        raise AssertionError("it must not run")

    assert type(error_of(finished(run))) is PermissionError


def test_an_own_call_is_honoured(app: Lavoro) -> None:
    class Doubled(Task[Any, Any]):
        abstract = True

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return 2 * super().__call__(*args, **kwargs)

    @app.task(base=Doubled, bind=True)
    def run(self: Any, x: int) -> int:
        assert self.request.id
        return x

    assert finished(run, 4).result == "8"


# What is left behind


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="clean")


def test_variables_of_the_context_are_gone_afterwards(app: Lavoro) -> None:
    @app.task
    def leave() -> str:
        found = variable.get()
        variable.set("dirty")
        return found

    for _ in range(2):
        assert finished(leave).result == '"clean"'
    assert variable.get() == "clean"
    assert current.get() is None


def test_each_run_has_its_own_request(app: Lavoro) -> None:
    @app.task(bind=True)
    def mine(self: Any) -> list[Any]:
        self.request.update(own=len(self.request.kwargs))
        return [self.request.id, self.request.retries, self.request.hostname, self.request.called_directly]

    for retries in (0, 1):
        outcome = finished(mine, retries=retries)
        assert json.loads(outcome.result or "") == [str(outcome.job.id), retries, "node@test", False]
    assert mine.request.id is None


def test_a_task_that_calls_another_as_a_function(app: Lavoro) -> None:
    @app.task(bind=True)
    def inner(self: Any) -> Any:
        return self.request.id

    @app.task(bind=True)
    def outer(self: Any) -> list[Any]:
        return [inner(), self.request.id]

    outcome = finished(outer)
    assert json.loads(outcome.result or "") == [None, str(outcome.job.id)]


def test_a_state_of_its_own_is_reported(app: Lavoro) -> None:
    told: list[tuple[Job, str, Any]] = []

    @app.task(bind=True)
    def slow(self: Any) -> None:
        self.update_state(state="HALF", meta={"done": 1})

    outcome = finished(slow, node=NODE._replace(report=lambda *about: told.append(about)))
    assert told == [(outcome.job, "HALF", {"done": 1})]
    assert isinstance(OutOfTime("x"), BaseException)


def test_a_message_of_a_later_release_is_left_for_its_workers(app: Lavoro) -> None:
    """It waits, uncounted, with the reason; what says nothing of its version, or one that we know, runs."""

    @app.task
    def nothing() -> None: ...

    outcome = given_back(nothing, options='{"v":2}')
    assert (outcome.state, outcome.countdown, outcome.longest) == (None, 1.0, 300.0)
    assert outcome.reason == "made by a later release: worker node@test knows version 1, not 2"
    assert finished(nothing, options='{"v":1}').state == "SUCCESS"
    assert finished(nothing, options='{"v":"two"}').state == "FAILURE"
