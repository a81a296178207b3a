"""Eager mode and direct calls: the task runs here the way it would in a worker, or as the plain function it is."""

from __future__ import annotations

import datetime as dt
import socket
import uuid
from typing import Any

import pytest

from lavoro import EagerResult, Lavoro, Task, allow_join_result, current_task, signals
from lavoro.exceptions import (
    Ignore,
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    TaskRevokedError,
)
from tests.api.eager.told import Told


def test_arguments_go_through_the_serializer(app: Lavoro) -> None:
    @app.task
    def echo(value: Any) -> Any:
        return value

    moment = dt.datetime(2030, 1, 2, tzinfo=dt.timezone.utc)
    given = {"pair": (1, 2), "id": uuid.UUID(int=1), "moment": moment, 3: None}
    assert echo.delay(given).get() == {"pair": [1, 2], "id": uuid.UUID(int=1), "moment": moment, "3": None}
    assert echo.apply((given,)).get() is given
    with pytest.raises(TypeError, match="not JSON serializable"):
        echo.delay(object())
    with pytest.raises(TypeError, match="missing a required argument"):
        echo.delay()  # type: ignore[call-arg]


def test_eager_result(app: Lavoro) -> None:
    @app.task(name="fail")
    def fail() -> None:
        raise KeyError("name")

    result = fail.apply_async(task_id="my id")
    assert isinstance(result, EagerResult)
    assert (result.id, result.state, result.name) == ("my id", "FAILURE", "fail")
    assert (result.failed(), result.ready(), result.successful()) == (True, True, False)
    assert "KeyError: 'name'" in (result.traceback or "")
    assert repr(result.result) == repr(result.get(propagate=False)) == "KeyError('name')"
    with pytest.raises(KeyError):
        result.get()
    result.forget()
    called: list[Any] = []
    result.then(called.append)
    assert called == [result]
    result.revoke()
    assert (result.state, repr(result.result), result.traceback) == ("REVOKED", "TaskRevokedError('revoked')", None)
    with pytest.raises(TaskRevokedError):
        result.get()
    assert (repr(result), result.supports_native_join) == ("<EagerResult: my id>", False)


def test_a_setting_leaves_the_serializer_out(app: Lavoro) -> None:
    echo, thing = app.task(lambda value: value, name="echo"), object()
    app.conf.lavoro_eager_serialize = False
    assert echo.delay(thing).get() is echo.apply_async((thing,)).get() is thing


def test_results_are_not_encoded(app: Lavoro) -> None:
    made = object()
    assert app.task(lambda: made, name="make").delay().get() is made


def test_handlers_and_signals_where_the_caller_gets_the_exception(app: Lavoro) -> None:
    """It is raised in place of the outcome: only the run's begin and end are told, as in Celery."""

    @app.task(bind=True, base=Told)
    def fail(self: Task[..., Any], how: str) -> None:
        raise self.retry(exc=OSError("again")) if how == "retry" else ValueError("wrong")

    told: list[Any] = fail.told  # type: ignore[attr-defined]
    for signal in (signals.task_prerun, signals.task_failure, signals.task_retry, signals.task_postrun):
        signal.connect(
            lambda signal, state="", **_: told.append((signal.name, state)), weak=False, dispatch_uid="order"
        )
    with pytest.raises(Retry, match="again"):
        fail.apply(("retry",), throw=True)
    with pytest.raises(ValueError, match="wrong"):
        fail.apply(("error",), throw=True)
    for signal in (signals.task_prerun, signals.task_failure, signals.task_retry, signals.task_postrun):
        signal.disconnect(dispatch_uid="order")
    assert [entry[0] for entry in told] == ["task_prerun", "before_start", "task_postrun"] * 2
    assert told[2] == ("task_postrun", None)


def test_retry_raised_at_the_call(app: Lavoro) -> None:
    @app.task(bind=True, autoretry_for=(KeyError,))
    def fail(self: Task[..., Any], how: str) -> None:
        if how == "auto":
            raise KeyError("k")
        raise self.retry(exc=KeyError("k"), countdown=5, **({"max_retries": 0} if how == "last" else {}))

    app.conf.task_eager_propagates = True
    for how in ("auto", "self"):
        with pytest.raises(Retry) as caught:
            fail.delay(how)
        assert (repr(caught.value.exc), caught.value.is_eager) == ("KeyError('k')", True)
    with pytest.raises(KeyError):
        fail.delay("last")


def test_a_retry_of_the_tasks_own_making_is_its_end(app: Lavoro) -> None:
    @app.task(base=Told)
    def stop() -> None:
        raise Retry("x")

    result = stop.delay()
    assert (result.state, str(result.result), result.get(), result.ready()) == ("RETRY", "x", None, True)
    assert [entry[0] for entry in stop.told] == ["before_start", "on_retry"]  # type: ignore[attr-defined]


def test_what_a_handler_raises_reaches_the_caller(app: Lavoro) -> None:
    class Strict(Task[..., Any]):
        def on_success(self, retval: Any, *_: Any) -> None:
            raise LookupError("on_success")

        def on_failure(self, exc: BaseException, *_: Any) -> None:
            raise LookupError("on_failure")

    @app.task(base=Strict)
    def divide(by: int) -> float:
        return 1 / by

    with pytest.raises(LookupError, match="on_success"):
        divide.delay(1)
    with pytest.raises(LookupError, match="on_failure"):
        divide.delay(0)


def test_fields_of_an_eager_request(app: Lavoro) -> None:
    @app.task(bind=True, time_limit=10, soft_time_limit=5)
    def describe(self: Task[..., Any], *names: str) -> Any:
        return [self.request.get(name) for name in names]

    names = ("eta", "expires", "delivery_info", "timelimit", "time_limit", "loglevel", "logfile", "headers", "trace")
    result = describe.apply(
        names, countdown=9, expires=9, priority=4, routing_key="r", headers={"trace": "t"}, loglevel=3
    )
    info = {"is_eager": True, "exchange": None, "routing_key": "r", "priority": 4}
    assert result.get() == [None, None, info, [10, 5], 10, 3, None, {"trace": "t"}, "t"]
    assert app.task(lambda self: self.request.timelimit, bind=True, name="plain").apply().get() is None
    assert app.task(lambda self: self.request.hostname, bind=True, name="host").apply().get() == socket.gethostname()
    with pytest.raises(ValueError, match="link must be a signature or a list of them"):
        describe.apply(link=describe)


def test_the_family_of_nested_runs(app: Lavoro) -> None:
    @app.task(bind=True)
    def child(self: Task[..., Any]) -> Any:
        return self.request.parent_id, self.request.root_id

    @app.task(bind=True)
    def parent(self: Task[..., Any]) -> Any:
        return self.request.root_id, child.apply().get(), self.request.children

    result = parent.apply()
    assert result.get() == (result.id, (result.id, result.id), [])


def test_exceptions_may_be_raised_at_the_call(app: Lavoro) -> None:
    @app.task
    def fail(error: str) -> None:
        raise {"key": KeyError("k"), "exit": SystemExit(1), "stop": KeyboardInterrupt()}[error]

    app.conf.task_eager_propagates = True
    with pytest.raises(KeyError):
        fail.delay("key")
    with pytest.raises(SystemExit):
        fail.apply(("exit",), throw=False)
    assert fail.apply(("key",), throw=False).failed()
    with pytest.raises(KeyboardInterrupt):  # Ctrl-C is for this process
        fail.apply(("stop",), throw=False)


def test_many(app: Lavoro) -> None:
    add = app.task(lambda x, y: x + y, name="add")
    assert [result.get() for result in add.delay_many([(1, 2), {"x": 3, "y": 4}])] == [3, 7]


def test_request(app: Lavoro) -> None:
    @app.task(bind=True)
    def describe(self: Task[..., Any], *args: Any) -> Any:
        request = self.request
        assert current_task.name == self.name
        return (
            request.id, request.is_eager, request.called_directly, request.retries, request.get("trace"), request.args,
        )  # fmt: skip

    result = describe.apply_async((1,), headers={"trace": "t"}, retries=2)
    assert result.get() == (result.id, True, False, 2, "t", [1])
    assert describe(1) == (None, False, True, 0, None, (1,))
    assert describe.request.id is None
    assert not current_task


def test_handlers_of_a_success_and_a_failure(app: Lavoro) -> None:
    @app.task(base=Told)
    def divide(x: int, by: int) -> float:
        return x / by

    zero = "division by zero"
    good, bad = divide.delay(4, by=2), divide.delay(4, by=0)
    assert divide.told == [  # type: ignore[attr-defined]
        ("before_start", [4], {"by": 2}),
        ("on_success", 2.0),
        ("after_return", "SUCCESS", good.id),
        ("before_start", [4], {"by": 0}),
        ("on_failure", f"ZeroDivisionError('{zero}')", ZeroDivisionError, f"ZeroDivisionError: {zero}"),
        ("after_return", "FAILURE", bad.id),
    ]


def test_ignore_and_reject(app: Lavoro) -> None:
    @app.task
    def leave(requeue: bool | None) -> None:
        raise Ignore if requeue is None else Reject("why", requeue=requeue)

    app.conf.task_eager_propagates = True
    assert leave.delay(None).state == "IGNORED"
    assert leave.delay(False).state == leave.delay(True).state == "REJECTED"


def test_expected_errors_are_failures_all_the_same(app: Lavoro, caplog: pytest.LogCaptureFixture) -> None:
    @app.task(throws=(KeyError,))
    def fail() -> None:
        raise KeyError("expected")

    caplog.set_level("INFO", "lavoro.task")
    assert fail.delay().state == "FAILURE"
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert "Traceback" not in record.getMessage()


def test_soft_time_limit_exceeded_may_be_caught_as_an_exception() -> None:
    assert issubclass(SoftTimeLimitExceeded, Exception)


def test_own_call_is_honoured_and_a_plain_call_inside_is_one_of_its_own(app: Lavoro) -> None:
    calls: list[Any] = []

    class Wrapped(Task[..., Any]):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            calls.append((args, self.request.called_directly))
            return super().__call__(*args, **kwargs)

    @app.task(bind=True, base=Wrapped)
    def fact(self: Task[..., Any], n: int) -> int:
        calls.append((n, self.request.called_directly))
        return 1 if n == 0 else n * fact(n - 1)

    assert fact.delay(1).get() == 1
    assert calls == [((1,), False), (1, False), ((0,), False), (0, True)]


def test_direct_call_inside_a_task_is_no_run_of_a_worker(app: Lavoro) -> None:
    @app.task(bind=True)
    def fact(self: Task[..., Any], n: int) -> Any:
        return [self.request.called_directly, self.request.id is None] + (fact(n - 1) if n else [])

    assert fact.delay(1).get() == [False, False, True, True]


def test_replaced_run_is_what_runs(app: Lavoro, monkeypatch: pytest.MonkeyPatch) -> None:
    @app.task
    def real() -> str:
        return "real"

    monkeypatch.setattr(real, "run", lambda: "fake")
    assert (real(), real.delay().get()) == ("fake", "fake")
    monkeypatch.setattr(real, "delay", lambda: "never sent")
    assert real.delay() == "never sent"  # type: ignore[comparison-overlap]


def test_made_up_request(app: Lavoro) -> None:
    @app.task(bind=True)
    def describe(self: Task[..., Any]) -> Any:
        return self.request.id, self.request.retries

    describe.push_request(id="made up", retries=3)
    assert describe.run() == ("made up", 3)
    describe.pop_request()
    assert describe.run() == (None, 0)


def test_made_up_requests_are_the_tasks_own(app: Lavoro) -> None:
    one, other = app.task(lambda: None, name="one"), app.task(lambda: None, name="other")
    one.push_request(task="shown", headers={}, root_id="r", timelimit=(10, 5), called_directly=False)
    other.push_request({"tenant": "a"})
    assert (one.request.task, one.request.headers, one.request.root_id) == ("shown", {}, "r")
    assert (one.request.time_limit, one.request.called_directly) == (10, False)
    assert other.request.headers == {"tenant": "a"}
    one.pop_request()
    assert (one.request.root_id, other.request.tenant) == (None, "a")
    other.pop_request()
    other.pop_request()


def test_a_made_up_request_has_the_fields_of_the_one_before(app: Lavoro) -> None:
    @app.task(bind=True)
    def describe(self: Task[..., Any], *args: Any) -> Any:
        return self.request.id, self.request.called_directly, self.request.args, self.request.retries

    describe.push_request(id="outer", called_directly=False, retries=3, args=(1,))
    assert describe(2) == ("outer", False, (2,), 3)
    describe.push_request(id="inner")
    assert describe.run() == ("inner", False, (1,), 3)
    describe.pop_request()
    describe.pop_request()
    describe.request.retries = 5
    assert describe() == (None, True, (), 5)


def test_what_is_set_outside_of_a_run_stays(app: Lavoro) -> None:
    one, other = app.task(lambda: None, name="one"), app.task(lambda: None, name="other")
    one.request.id = "x"
    one.request.children.append("child")
    assert (one.request.id, one.request.children, other.request.id) == ("x", ["child"], None)
    assert one.delay().id != "x"


def test_waiting_for_another_task_is_as_forbidden_as_in_a_worker(app: Lavoro) -> None:
    """But not where ``apply`` has run the outermost one."""

    @app.task
    def inner() -> int:
        return 1

    @app.task
    def outer(how: str) -> int:
        if how == "allowed":
            with allow_join_result():
                return inner.delay().get()
        if how == "by option":
            return inner.delay().get(disable_sync_subtasks=False)
        return inner.apply().get() if how == "apply" else inner.delay().get()

    assert outer.delay("allowed").get() == outer.delay("by option").get() == 1
    for how in ("apply", "delay"):
        with pytest.raises(RuntimeError, match="within a task"):
            outer.delay(how).get()
        assert outer.apply((how,)).get() == outer(how) == 1


def test_class_of_ones_own(app: Lavoro) -> None:
    class Greet(Task[..., Any]):
        name = "greet"

        def run(self, whom: str) -> str:
            return f"hello {whom}"

    class Unnamed(Task[..., Any]):
        def run(self) -> str:
            return str(self.name)

    assert app.register_task(Greet()).delay("you").get() == "hello you"
    assert app.tasks["greet"].apply(("me",)).get() == "hello me"
    assert app.register_task(Unnamed).delay().get() == f"{__name__}.Unnamed"


def test_states_have_no_place_outside_of_a_worker(app: Lavoro, caplog: pytest.LogCaptureFixture) -> None:
    """Eager and direct runs say nothing, for progress belongs to them; a state of no run is warned of."""

    @app.task(bind=True)
    def report(self: Task[..., Any]) -> None:
        self.update_state(state="HALF")
        self.update_state(self.request.id, state="HALF")

    report.delay().get()
    report()
    assert not caplog.records
    report.update_state(state="HALF")
    report.update_state("an id", "HALF")
    assert [record.message.partition(" connection failed")[0] for record in caplog.records] == [
        f"state HALF of a task {report.name} is dropped: none runs in this thread; give its id, task_id=...",
        f"state HALF of {report.name}[an id] is dropped: cannot connect to postgresql://nobody@127.0.0.1:1/none:",
    ]
