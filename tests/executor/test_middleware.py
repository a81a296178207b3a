"""Middleware and hooks around a run: their order, and what a change or an error of each does to the outcome."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import pytest

from lavoro import Lavoro, Task, shared_task
from lavoro.exceptions import Ignore, ImproperlyConfigured, Reject, Retry
from lavoro.middleware import Middleware, RunCall, SendCall
from lavoro.protocol.outcome import Finished, Requeued
from lavoro.runtime import current_app
from lavoro.serialization import loads
from tests.executor.run import error_of, finished, given_back

Proceed = Callable[[RunCall], Any]


class Told(Middleware):
    """Writes down when a run passes it."""

    def __init__(self, name: str, told: list[str]) -> None:
        self.name, self.told = name, told

    def run(self, call: RunCall, proceed: Proceed) -> Any:
        self.told.append(f"{self.name} begins")
        try:
            return proceed(call)
        except BaseException as error:
            self.told.append(f"{self.name} sees {type(error).__name__}")
            raise
        finally:
            self.told.append(f"{self.name} ends")


class Raising(Middleware):
    """Raises an error before or after the task."""

    def __init__(self, error: BaseException, *, after: bool = False) -> None:
        self.error, self.after = error, after

    def run(self, call: RunCall, proceed: Proceed) -> Any:
        if self.after:
            proceed(call)
        raise self.error


def value_of(outcome: Finished) -> Any:
    assert outcome.state == "SUCCESS", outcome
    assert outcome.result is not None
    return loads(outcome.result)


def test_the_first_is_outermost_and_all_lies_between_the_handlers(app: Lavoro) -> None:
    told: list[str] = []

    class Base(Task[..., Any]):
        abstract = True

        def before_start(self, *args: Any) -> None:
            told.append("before_start")

        def on_success(self, *args: Any) -> None:
            told.append("on_success")

        def after_return(self, *args: Any) -> None:
            told.append("after_return")

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            told.append("__call__")
            return super().__call__(*args, **kwargs)

    app.middleware.extend([Told("first", told), Told("second", told)])
    hooks: dict[str, Any] = {
        "before": [lambda call: told.append("before 1"), lambda call: told.append("before 2")],
        "after": [lambda call, value, error: told.append("after 1"), lambda *_: told.append("after 2")],
    }
    task = app.task(name="told", base=Base, **hooks)(lambda: told.append("task"))
    finished(task)
    assert told == [
        "before_start", "first begins", "second begins", "before 1", "before 2", "__call__", "task", "after 1",
        "after 2", "second ends", "first ends", "on_success", "after_return",
    ]  # fmt: skip


def test_arguments_and_the_value_may_be_changed(app: Lavoro) -> None:
    @app.middleware.around_run
    def change(call: RunCall, proceed: Proceed) -> Any:
        call.args = (*call.args, 10)
        call.kwargs["z"] = 100
        return {"value": proceed(call), "stored": call.request.args, "name": call.name}

    task = app.task(name="add")(lambda x, y, z=0: x + y + z)
    assert value_of(finished(task, 1)) == {"value": 111, "stored": [1], "name": "add"}


def test_a_task_need_not_run_and_may_run_twice(app: Lavoro) -> None:
    runs: list[Any] = []

    class Base(Task[..., Any]):
        abstract = True

        def __call__(self, *args: Any) -> Any:
            return super().__call__(*args)

    @app.middleware.around_run
    def times(call: RunCall, proceed: Proceed) -> Any:
        return [proceed(call) for _ in range(call.args[0])]

    @app.task(bind=True, base=Base)
    def run(self: Task[..., Any], times: int) -> Any:
        runs.append(self.request.id)
        return [times, self.request.called_directly]

    assert value_of(finished(run, 0)) == []
    assert runs == []
    assert value_of(finished(run, 2)) == [[2, False], [2, False]]
    assert len(set(runs)) == 1


def test_an_error_may_become_another_or_a_value(app: Lavoro) -> None:
    @app.middleware.around_run
    def change(call: RunCall, proceed: Proceed) -> Any:
        try:
            return proceed(call)
        except ZeroDivisionError:
            return "endless"
        except KeyError as error:
            raise LookupError("of the middleware") from error

    assert value_of(finished(app.task(name="divide")(lambda: 1 / 0))) == "endless"
    outcome = finished(app.task(name="find")(lambda: {}["a"]))
    assert (outcome.state, str(error_of(outcome))) == ("FAILURE", "of the middleware")
    assert "KeyError" in (outcome.traceback or "")


@pytest.mark.parametrize("after", [False, True])
def test_an_error_of_a_middleware_is_one_of_the_task(app: Lavoro, after: bool) -> None:
    failures: list[BaseException] = []

    class Base(Task[..., Any]):
        abstract = True

        def on_failure(self, exc: BaseException, *args: Any) -> None:
            failures.append(exc)

    told: list[str] = []
    app.middleware.extend([Told("outer", told), Raising(OSError("no"), after=after), Told("inner", told)])
    outcome = finished(app.task(name="fine", base=Base)(lambda: told.append("task")))
    assert (outcome.state, repr(error_of(outcome))) == ("FAILURE", "OSError('no')")
    inner = ["inner begins", "task", "inner ends"] if after else []
    assert told == ["outer begins", *inner, "outer sees OSError", "outer ends"]
    assert [str(each) for each in failures] == ["no"]


@pytest.mark.parametrize("after", [False, True])
def test_autoretry_for_holds_for_errors_of_a_middleware(app: Lavoro, after: bool) -> None:
    app.middleware.add(Raising(OSError("no"), after=after))
    task = app.task(name="again", autoretry_for=(OSError,), max_retries=2, retry_backoff=2, retry_jitter=False)(int)
    assert given_back(task).countdown == 2
    assert given_back(task, retries=1, attempt=2).countdown == 4
    assert repr(error_of(finished(task, retries=2, attempt=3))) == "OSError('no')"
    never = app.task(name="never", autoretry_for=(OSError,), dont_autoretry_for=(OSError,))(int)
    assert finished(never).state == "FAILURE"


def test_autoretry_for_holds_for_the_error_that_a_middleware_makes(app: Lavoro) -> None:
    @app.middleware.around_run
    def change(call: RunCall, proceed: Proceed) -> Any:
        try:
            return proceed(call)
        except ZeroDivisionError as error:
            raise OSError("of the middleware") from error

    task = app.task(name="again", autoretry_for=(OSError,))(lambda: 1 / 0)
    assert repr(error_of(given_back(task))) == "OSError('of the middleware')"


def test_the_ends_that_a_task_asks_for_pass_through(app: Lavoro) -> None:
    told: list[str] = []
    app.middleware.add(Told("m", told))

    @app.task(bind=True, autoretry_for=(OSError,))
    def ends(self: Task[..., Any], how: str) -> None:
        match how:
            case "retry":
                raise self.retry(countdown=3)
            case "autoretry":
                raise OSError
            case "ignore":
                raise Ignore
            case "reject":
                raise Reject("why", requeue=True)

    back = given_back(ends, "retry")
    assert (type(back), back.countdown) == (Requeued, 3)
    assert given_back(ends, "autoretry").state == "RETRY"
    assert finished(ends, "ignore").state != "FAILURE"
    assert "rejected" in (given_back(ends, "reject").reason or "")
    assert [each for each in told if "sees" in each] == [
        "m sees Retry", "m sees Retry", "m sees Ignore", "m sees Reject",
    ]  # fmt: skip


def test_the_next_try_begins_with_the_arguments_of_the_message(app: Lavoro) -> None:
    @app.middleware.around_run
    def change(call: RunCall, proceed: Proceed) -> Any:
        call.args = (call.args[0] + 1,)
        return proceed(call)

    @app.task(bind=True)
    def again(self: Task[..., Any], x: int) -> int:
        if not self.request.retries:
            raise self.retry(countdown=0)
        return x

    assert given_back(again, 1).args is None  # as they were sent
    assert value_of(finished(again, 1, retries=1)) == 2


def test_a_direct_call_is_a_call_of_the_function(app: Lavoro) -> None:
    told: list[str] = []
    app.middleware.add(Told("m", told))
    task = app.task(name="plain", before=lambda call: told.append("hook"))(lambda: 1)
    assert task() == 1
    assert told == []


def test_the_limits_of_the_task_hold_for_the_middleware(app: Lavoro) -> None:
    """So one that hangs is interrupted."""
    told: list[str] = []

    class Limit:
        def __init__(self, seconds: float, error: BaseException) -> None: ...

        def __enter__(self) -> None:
            told.append("limit begins")

        def __exit__(self, *_: object) -> None:
            told.append("limit ends")

    app.middleware.add(Told("m", told))
    from tests.executor.run import NODE

    finished(app.task(name="limited", soft_time_limit=3)(int), node=NODE._replace(limit=Limit))
    assert told == ["limit begins", "m begins", "m ends", "limit ends"]


# Hooks


def test_hooks_get_the_call_and_the_end(app: Lavoro) -> None:
    seen: list[Any] = []

    def begin(call: RunCall) -> None:
        call.args = (call.args[0] * 10,)
        seen.append((call.name, call.request.id is not None))

    def end(call: RunCall, value: Any, error: BaseException | None) -> None:
        seen.append((call.args, value, error))

    @app.task(before=begin, after=end)
    def divide(x: int) -> float:
        return 20 / x

    assert value_of(finished(divide, 1)) == 2
    assert finished(divide, 0).state == "FAILURE"
    (_, first, _, (args, value, error)) = seen
    assert first == ((10,), 2.0, None)
    assert (args, value, type(error)) == ((0,), None, ZeroDivisionError)


def test_a_failing_hook_before_fails_the_task_and_one_after_does_not(
    app: Lavoro, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def tell(name: str, *_: Any) -> None:
        told.append(name)

    def fail(*_: Any) -> None:
        raise OSError("of a hook")

    last = functools.partial(tell, "last")
    before = app.task(name="before", before=[fail, last], after=last)(lambda: told.append("task"))
    outcome = finished(before)
    assert (outcome.state, repr(error_of(outcome))) == ("FAILURE", "OSError('of a hook')")
    assert told == []
    again = app.task(name="again", before=fail, autoretry_for=(OSError,))(int)
    assert given_back(again).state == "RETRY"
    with caplog.at_level(logging.ERROR, "lavoro.task"):
        assert value_of(finished(app.task(name="after", after=[fail, last])(lambda: 3))) == 3
    assert told == ["last"]
    assert "of task after[" in caplog.text
    assert "OSError: of a hook" in caplog.text


def test_hooks_may_be_given_wherever_options_are(app: Lavoro) -> None:
    told: list[str] = []

    class Base(Task[..., Any]):
        abstract = True
        before = (lambda call: told.append("class"),)

    inherited = app.task(name="inherited", base=Base)(int)
    assigned = app.task(name="assigned")(int)
    assigned.before = lambda call: told.append("assigned")
    shared = shared_task(name="shared", before=[lambda call: told.append("shared")])(int)
    app.conf.task_annotations = {"annotated": {"after": lambda *_: told.append("annotated")}}
    annotated = app.task(name="annotated")(int)
    registered = app.register_task(type("Own", (Task,), {"name": "own", "run": lambda self: 1}), after=[
        lambda *_: told.append("registered")
    ])  # fmt: skip
    app.finalize()
    for task in (inherited, assigned, annotated, registered, app.tasks[shared.name]):
        finished(task)
    assert told == ["class", "assigned", "annotated", "registered", "shared"]
    current_app.shared.pop()


def test_a_method_of_that_name_is_no_hook(app: Lavoro) -> None:
    """Applications that come from Celery may have one."""

    class Base(Task[..., Any]):
        abstract = True

        def before(self, deadline: str) -> str:
            return deadline

    task = app.task(name="method", base=Base, bind=True)(lambda self: self.before("noon"))
    assert value_of(finished(task)) == "noon"


@pytest.mark.parametrize("option", ["before", "after"])
def test_what_cannot_be_a_hook_is_refused(app: Lavoro, option: str) -> None:
    async def wait(call: RunCall) -> None: ...

    with pytest.raises(ImproperlyConfigured, match=f"{option} must be a function, or a list or tuple of functions"):
        app.task(name="a", **{option: "text"})(int)
    with pytest.raises(ImproperlyConfigured, match=f"option {option}: .*wait is an async function"):
        app.task(name="b", **{option: wait})(int)


# The list


def test_the_list_is_one(app: Lavoro) -> None:
    told: list[str] = []
    first, second, third = (Told(name, told) for name in ("first", "second", "third"))
    task = app.task(name="told")(int)
    app.middleware.append(second)
    app.middleware.insert(0, first)
    assert app.middleware.add(third) is third
    assert list(app.middleware) == [first, second, third]
    app.middleware.remove(second)
    finished(task)
    assert told == ["first begins", "third begins", "third ends", "first ends"]
    del app.middleware[:], told[:]
    finished(task)
    assert (told, app.middleware.run, app.middleware.send) == ([], None, None)
    app.middleware[:] = [second]
    finished(task)
    assert told == ["second begins", "second ends"]


def test_only_methods_that_are_written_are_in_the_way(app: Lavoro) -> None:
    class Sends(Middleware):
        def send(self, call: SendCall, proceed: Callable[[SendCall], Any]) -> Any:
            return proceed(call)

    app.middleware.add(Sends)
    assert app.middleware.run is None
    assert app.middleware.send is not None


class Named(Middleware):
    """Is named by a dotted path."""

    def run(self, call: RunCall, proceed: Proceed) -> Any:
        return ["named", proceed(call)]


OBJECT = Named()


@pytest.mark.parametrize("name", ["Named", "OBJECT"])
def test_it_may_be_named_by_settings_and_arguments(name: str) -> None:
    path = f"{__name__}.{name}"
    told: list[str] = []
    app = Lavoro("a", set_as_current=False, lavoro_middleware=[path], middleware=[Told("given", told)])
    app.finalize()
    assert [type(each) for each in app.middleware] == [Named, Told]
    assert value_of(finished(app.task(name="one")(lambda: 1))) == ["named", 1]
    app.finalize()
    assert len(app.middleware) == 2


def test_what_cannot_be_one_is_refused(app: Lavoro) -> None:
    class Waits:
        async def run(self, call: RunCall, proceed: Proceed) -> Any: ...

    class Yields:
        def send(self, call: SendCall, proceed: Any) -> Any:
            yield

    with pytest.raises(TypeError, match="is no middleware: it needs a method run"):
        app.middleware.add(print)
    with pytest.raises(TypeError, match="middleware Told needs arguments .*: give an object of it"):
        app.middleware.add(Told)
    with pytest.raises(ImproperlyConfigured, match="Waits.run is an async function, and no worker awaits it"):
        app.middleware.add(Waits)
    with pytest.raises(ImproperlyConfigured, match="Yields.send is a generator function, and it must call proceed"):
        app.middleware.add(Yields())
    assert list(app.middleware) == []


def test_a_setting_that_names_none_stops_each_use_of_the_application() -> None:
    app = Lavoro("a", set_as_current=False, lavoro_middleware=["tests.executor.nowhere.Named"])
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured, match="lavoro_middleware: .*nowhere"):
            app.finalize()
    with pytest.raises(ImproperlyConfigured, match="lavoro_middleware"):
        Lavoro("b", set_as_current=False, lavoro_middleware=3).finalize()


def test_a_retry_that_a_middleware_raises_is_one(app: Lavoro) -> None:
    @app.middleware.around_run
    def later(call: RunCall, proceed: Proceed) -> Any:
        raise call.task.retry(countdown=7)

    assert given_back(app.task(name="later")(int)).countdown == 7
    assert issubclass(Retry, Exception)
