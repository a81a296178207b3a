"""What a task that failed held is free at once, with no help of Python's collector."""

from __future__ import annotations

import contextlib
import gc
import logging
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy.orm import scoped_session, sessionmaker

from lavoro import Lavoro, Task, signals
from lavoro.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from lavoro.execution.executor import Cancelled, OutOfTime, execute
from lavoro.middleware import Middleware, RunCall, SessionCleanup, TimeLog
from tests.executor.run import NODE, job_of


class Large:
    """What a task holds, or is given."""


@pytest.fixture
def collector() -> Iterator[None]:
    """Python's collector does not run."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _cause(self: Any) -> None:
    try:
        _plain(self)
    except ValueError as inner:
        kept = inner
        raise KeyError("outer") from kept


def _context(self: Any) -> None:
    try:
        _plain(self)
    except ValueError:
        raise KeyError("outer")  # noqa: B904


def _plain(self: Any) -> None:
    kept = [Large()]
    error = ValueError(len(kept))
    held.append(weakref.ref(kept[0]))
    raise error


def _exception(cls: type[BaseException]) -> Any:
    def end(self: Any) -> None:
        large, error = Large(), cls("x")
        held.append(weakref.ref(large))
        raise error

    return end


def _retry(self: Any) -> None:
    try:
        _plain(self)
    except ValueError as error:
        raise self.retry(exc=error) from error


def _retry_without_raising(self: Any) -> None:
    try:
        _plain(self)
    except ValueError as error:
        self.retry(exc=error, throw=False)


def _group(self: Any) -> None:
    try:
        _plain(self)
    except ValueError as error:
        group: Any = ValueError("a group")
        group.exceptions = (error,)
        raise group from None


def _result(self: Any) -> Any:
    large = Large()
    held.append(weakref.ref(large))
    return [large]


held: list[weakref.ref[Large]] = []
WAYS = {
    "failure": _plain, "cause": _cause, "context": _context, "retry": _retry,
    "retry, not raised": _retry_without_raising, "ignore": _exception(Ignore), "reject": _exception(Reject),
    "cancelled": _exception(Cancelled), "soft limit": _exception(SoftTimeLimitExceeded),
    "hard limit": _exception(OutOfTime), "exit": _exception(SystemExit),
    "autoretry": _exception(OSError), "group": _group, "result": _result,
}  # fmt: skip


@pytest.mark.parametrize("way", list(WAYS))
def test_the_variables_of_a_task_that_failed_are_free(app: Lavoro, collector: None, way: str) -> None:
    held.clear()

    @app.task(bind=True, autoretry_for=(OSError,), max_retries=3)
    def end(self: Any) -> Any:
        return WAYS[way](self)

    for _ in range(2):
        execute(end, job_of(end), NODE)
    assert len(held) == 2
    assert [reference() for reference in held] == [None, None]


@pytest.mark.parametrize("way", list(WAYS))
def test_so_are_they_with_middleware_and_hooks(
    app: Lavoro, collector: None, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(logging.getLogger("lavoro.task"), "propagate", False)  # pytest keeps the records

    class Catching(Middleware):
        def run(self, call: RunCall, proceed: Callable[[RunCall], Any]) -> Any:
            try:
                value = proceed(call)
            except BaseException as error:
                kept = error  # noqa: F841
                raise
            return value

    app.middleware.extend([Catching(), SessionCleanup(scoped_session(sessionmaker())), TimeLog()])
    held.clear()

    def fail(*_: Any) -> None:
        large = Large()
        held.append(weakref.ref(large))
        raise ValueError("of a hook")

    @app.task(bind=True, autoretry_for=(OSError,), max_retries=3, before=lambda call: None, after=fail)
    def end(self: Any) -> Any:
        return WAYS[way](self)

    for _ in range(2):
        execute(end, job_of(end), NODE)
    assert len(held) == 4
    assert [reference() for reference in held] == [None] * 4


def test_the_arguments_are_free(app: Lavoro, collector: None) -> None:
    held.clear()

    class Keeping(Task[Any, Any]):
        abstract = True

        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            kwargs["large"] = Large()
            held.append(weakref.ref(kwargs["large"]))

    @app.task(base=Keeping)
    def end(large: Any) -> None:
        raise ValueError

    execute(end, job_of(end), NODE)
    assert [reference() for reference in held] == [None]


def test_what_is_kept_of_an_exception_holds_no_variables(app: Lavoro, collector: None) -> None:
    """A receiver may keep the exception, its traceback and all that is known of it."""
    held.clear()
    kept: list[Any] = []

    @app.task(bind=True)
    def end(self: Any) -> None:
        _plain(self)

    def keep(**named: Any) -> None:
        kept.append((named["exception"], named["einfo"], named["traceback"]))

    signals.task_failure.connect(keep, weak=False, dispatch_uid="keep")
    try:
        execute(end, job_of(end), NODE)
    finally:
        signals.task_failure.disconnect(dispatch_uid="keep")
    [(error, info, traceback)] = kept
    assert [reference() for reference in held] == [None]
    assert error.__traceback__ is traceback is info.tb
    assert "_plain" in info.traceback


@pytest.mark.parametrize("where", ["signal", "handler"])
def test_what_a_receiver_or_handler_held_is_free(app: Lavoro, collector: None, where: str) -> None:
    held.clear()

    class Broken(Task[Any, Any]):
        abstract = True

        def on_failure(self, *about: Any) -> None:
            _plain(self)

    @app.task(base=Broken if where == "handler" else None)
    def end() -> None:
        raise KeyError

    with contextlib.ExitStack() as stack:
        if where == "signal":
            signals.task_failure.connect(lambda **_: _plain(None), weak=False, dispatch_uid="broken")
            stack.callback(signals.task_failure.disconnect, dispatch_uid="broken")
        execute(end, job_of(end), NODE)
    assert [reference() for reference in held] == [None]


def test_the_variables_can_be_seen_until_all_have_heard_of_the_failure(app: Lavoro) -> None:
    """As an error reporter does, which shows the variables of each frame."""
    seen: list[Any] = []

    @app.task(bind=True)
    def end(self: Any) -> None:
        large = Large()
        seen.append(large)
        raise ValueError

    def look(traceback: Any, **_: Any) -> None:
        while traceback.tb_next:
            traceback = traceback.tb_next
        seen.append(traceback.tb_frame.f_locals["large"])

    signals.task_failure.connect(look, weak=False, dispatch_uid="look")
    try:
        execute(end, job_of(end), NODE)
    finally:
        signals.task_failure.disconnect(dispatch_uid="look")
    assert seen[0] is seen[1]
