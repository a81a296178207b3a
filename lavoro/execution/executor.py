"""Runs a task: a job becomes an outcome; it raises nothing and writes nothing to the database."""

from __future__ import annotations

import contextlib
import contextvars
import datetime as dt
import logging
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

from lavoro import serialization, signals
from lavoro.exceptions import (
    Ignore,
    ImproperlyConfigured,
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    TaskRevokedError,
    TimeLimitExceeded,
)
from lavoro.execution import decode, prints, report
from lavoro.execution.context import Context, current
from lavoro.execution.coroutines import UNAWAITED, unawaited_error
from lavoro.execution.decode import Call
from lavoro.execution.encode import encode, warn_of_null
from lavoro.execution.run_settings import RunSettings
from lavoro.protocol import outcome
from lavoro.protocol.durations import later
from lavoro.protocol.failure import ExceptionInfo, release
from lavoro.protocol.lineage import child_form
from lavoro.protocol.message import Job, pack_options
from lavoro.protocol.outcome import Finished, Outcome, Requeued
from lavoro.protocol.place import FOLLOWED, Follow
from lavoro.runtime import forking
from lavoro.states import FAILURE, REJECTED, SUCCESS
from lavoro.text.printable import told

logger = logging.getLogger("lavoro.task")

_CHANGED = ("queue", "priority", "expires", "expires_in", "args", "kwargs", "payload")
"""The parts of a call that a retry may change, beside its time and options."""


class Cancelled(BaseException):
    """Thrown into a running task that was revoked with ``terminate=True``."""


class OutOfTime(BaseException):
    """Raised in a running task at its hard limit, where the pool can; no ``except Exception`` of the task stops it."""


def execute(task: Any, job: Job, settings: RunSettings, call: Call | None = None) -> Outcome:
    """Run one job to its outcome, and free the memory of an exception that ended it.

    ``call`` is the result of ``decode`` for the job, if it was called before.
    """
    run = Run(task, job, settings, call)
    ended = run.outcome()
    if run.raised is not None:
        release(run.raised)  # here, where the frames of the run itself have ended too
        run.let_go()
    return ended


def handle_end(
    task: Any, job: Job, settings: RunSettings, error: BaseException, *, signal: object = None
) -> Follow | None:
    """Call the handlers and send the signal, in this process, of a task whose own process was ended.

    Return what follows: the messages of its error callbacks.
    """
    run = Run(task, job, settings)
    return contextvars.copy_context().run(run.handle_end, error, signal)


class Run:
    """One start of one task; afterwards ``value`` and ``error`` hold what it returned or raised."""

    __slots__ = ("call", "error", "job", "raised", "request", "runtime", "settings", "started", "task", "value")

    request: Context

    def __init__(self, task: Any, job: Job, settings: RunSettings, call: Call | None = None) -> None:
        self.task: Any = task
        self.job = job
        self.settings = settings
        self.started = perf_counter()
        self.runtime: float = 0.0
        self.value: Any = None
        self.error: BaseException | None = None
        self.raised: BaseException | None = None
        """The exception that ended it, a failure or not."""
        self.call: Any = call
        """The job as it was read; None until it is."""

    def outcome(self) -> Outcome:
        """Run, in a copy of the context: variables that the task sets are gone afterwards."""
        return contextvars.copy_context().run(self._outcome)

    def handle_end(self, error: BaseException, signal: object) -> Follow | None:
        """Call the handlers of a task that has ended in another process; return what follows."""
        self.prepare()
        current.set(self.request)
        revoked = isinstance(error, TaskRevokedError)
        follow = None if revoked or FOLLOWED.isdisjoint(self.call.options) else self._follow(FAILURE, error)
        report.report_lost(self, error, signal)
        return follow

    def let_go(self) -> None:
        """Drop all references: a log record may keep an exception, whose frames refer to this run."""
        for name in self.__slots__:
            setattr(self, name, None)

    def _outcome(self) -> Outcome:
        try:
            self.prepare()
        except Exception as unreadable:
            self.raised = unreadable
            return decode.outcome_of(self.job, self.settings, unreadable)
        if self.job.revoked or self.job.expired:
            report.report_refused(self)
            revoked = TaskRevokedError("revoked" if self.job.revoked else "expired")
            return self._ended(outcome.revoked(self.job, serialization.dumps_exception(revoked)), revoked)
        current.set(self.request)
        try:
            if self.call.options and "gathers" in self.call.options:
                self._gather()
            self.value = self.enter()
            return self._succeeded(self.value)
        except BaseException as error:  # SystemExit, GreenletExit and their like end the task, never the worker
            self.raised = error
            return self.ended(error)

    def prepare(self) -> None:
        """Read the job, unless that was done before, and make the request."""
        if self.call is None:
            self.call = decode.decode(self.job, self.settings)
        self.request = self.call.request(self.task, self.settings)

    def _gather(self) -> None:
        """Read the results of a chord's header, which are the first argument of the body."""
        assert self.settings.gather is not None
        self.call.args = self.request.args = [self.settings.gather(self.call.options["gathers"]), *self.call.args]

    # During

    def enter(self) -> Any:
        """Call the task within its limits, after the signal ``task_prerun`` and ``before_start``."""
        task, call = self.task, self.call
        if signals.task_prerun.receivers:  # the truth of the signal itself would cost one more call
            signals.task_prerun.send(task, task_id=self.request.id, task=task, args=call.args, kwargs=call.kwargs)
        if (handlers := task.__binding__.handlers) and "before_start" in handlers:
            task.before_start(self.request.id, call.args, call.kwargs)
        if forking.depth and not self.settings.eager:
            forking.leave_fork()  # before_start has forked: the task runs in the parent
        soft = call.options.get("soft_time_limit") or task.soft_time_limit
        hard = (call.options.get("time_limit") or task.time_limit) if self.settings.limits_hard else None
        if logger.isEnabledFor(logging.DEBUG):
            about = {"task_name": self.job.name, "task_id": self.request.id}
            logger.debug("Task %s[%s] started", self.job.name, self.request.id, extra=about)
        try:
            value = self._call_limited(soft, hard) if soft or hard else self._call()
        finally:
            if prints.unfinished:
                prints.end_line()
        pending: Retry | None = vars(self.request).get("retry_pending")
        if pending is not None:  # Task.retry(throw=False) was called
            raise pending
        return value

    def _call_limited(self, soft: float | None, hard: float | None) -> Any:
        with contextlib.ExitStack() as limits:
            if hard:
                limits.enter_context(self.settings.limit(hard, OutOfTime(f"hard time limit of {hard:g} s")))
            if soft:
                error = SoftTimeLimitExceeded(f"soft time limit of {soft:g} s")
                limits.enter_context(self.settings.limit(soft, error))
            return self._call()

    def _call(self) -> Any:
        """Call the task's function. A process that it has forked ends here; the parent does the rest."""
        task = self.task
        binding = task.__binding__
        try:
            entry = task.__call__ if binding.calls_itself else task.run
            if binding.hooked or task.app.middleware.run is not None:
                entry = task.app.middleware.around(task, self.request, partial(self._enter, entry))
            value = entry(*self.call.args, **self.call.kwargs)
        except BaseException as error:
            if forking.depth and not self.settings.eager:
                forking.leave_fork(error)
            raise
        if forking.depth and not self.settings.eager:
            forking.leave_fork()
        if type(value) in UNAWAITED:
            raise unawaited_error(self.job.name, value)
        return value

    def _enter(self, entry: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call the function inside of its middleware, whose code a process that it has forked does not reach."""
        try:
            value = entry(*args, **kwargs)
        except BaseException as error:
            if forking.depth and not self.settings.eager:
                forking.leave_fork(error)
            raise
        if forking.depth and not self.settings.eager:
            forking.leave_fork()
        return value

    # After

    def _succeeded(self, value: Any) -> Outcome:
        try:
            text, payload = encode(value, self.task, self.call.options, self.settings)
        except Exception as error:
            self.raised = error
            if self.settings.strict_results:
                return self._unstorable(error)
            text, payload = "null", None
            warn_of_null(self.job.name, error)
        self.runtime = perf_counter() - self.started
        follow = None
        if (options := self.call.options) and not FOLLOWED.isdisjoint(options):
            try:
                follow = self._follow(SUCCESS, value)
            except Exception as error:
                self.raised = error
                return self._failed(error)
        report.report(self, report.SUCCEEDED, value)
        sent = vars(self.request).get("children")
        children = serialization.dumps([*map(child_form, sent)]) if sent else None
        return outcome.succeeded(
            self.job, text, self.runtime, payload=payload, children=children, follow=follow
        )  # fmt: skip

    def _follow(self, state: str, value: Any, info: ExceptionInfo | None = None) -> Follow | None:
        """Return what follows the run, which has options that say so."""
        follow, traceback = self.settings.follow, info.traceback if info is not None else None
        return follow(self.request, state, value, traceback) if follow is not None else None

    def _ended(
        self, ended: Finished, error: BaseException, info: ExceptionInfo | None = None, *, state: str | None = None
    ) -> Finished:
        """Return the outcome of a run that has not returned, with what follows it."""
        if FOLLOWED.isdisjoint(self.call.options):
            return ended
        return ended._replace(follow=self._follow(state or ended.state, error, info))

    def _unstorable(self, error: Exception) -> Outcome:
        """Fail a task whose result cannot be stored, without a traceback, which would show only Lavoro's code."""
        kind = type(error) if type(error) in (TypeError, ImproperlyConfigured) else ValueError
        return self._failed(kind(f"the result of {self.job.name} cannot be stored: {told(error)}"))

    def ended(self, error: BaseException) -> Outcome:
        """Return the outcome of an exception that the task has raised."""
        pending: Retry | None = vars(self.request).get("retry_pending")
        if pending is not None and isinstance(error, Exception) and not isinstance(error, Retry):
            if not isinstance(error, (Ignore, Reject)):
                pending.exc = pending.exc or error
            error = pending  # retry(throw=False): the task is tried again, however this run ends
        self.runtime = perf_counter() - self.started
        match error:
            case Retry() if error.task_id in (None, self.request.id):
                return self._retried(error)
            case Ignore():
                report.report(self, report.IGNORING, error)
                ended = outcome.ignored(self.job, self.runtime)
                follow: Follow | None = getattr(error, "follow", None)  # it was replaced
                return ended if follow is None else ended._replace(follow=follow)
            case Reject():
                return self._rejected(error)
            case Cancelled():
                terminated = TaskRevokedError("terminated")
                report.report(self, report.CANCELLED, terminated)
                ended = outcome.revoked(self.job, serialization.dumps_exception(terminated), self.runtime)
                return self._ended(ended, terminated)
            case OutOfTime():
                return self._failed(TimeLimitExceeded(*error.args).with_traceback(error.__traceback__))
            case _:
                return self._failed(error)

    def _retried(self, retry: Retry) -> Outcome:
        info, cause = ExceptionInfo(retry, self.settings.max_error_size), retry.exc or retry
        report.report(self, report.RETRIED, retry, info, cause=cause)
        changes, call = getattr(retry, "changes", {}), self.call
        options = {**call.options, **(changes.get("options") or {}), "eta": _eta(retry.when)}
        back = outcome.retrying(
            self.job,
            eta=retry.when if isinstance(retry.when, dt.datetime) else None,
            countdown=None if isinstance(retry.when, dt.datetime) else float(retry.when or 0),
            **{name: changes.get(name) for name in _CHANGED},
            options=packed if (packed := pack_options(options)) != call.job.options else None,
            reason=decode.reason(retry),
            error=self._dumped(cause),
            traceback=info.traceback,
        )
        return self._signed_again(back) if call.signed else back

    def _signed_again(self, back: Requeued) -> Requeued:
        """Sign the overrides of the next try."""
        if back.options is None and back.args is None and back.payload is None:
            return back
        changed = self.call.job._replace(options=back.options or self.call.job.options)
        if back.args is not None or back.payload is not None:
            changed = changed._replace(args=back.args, kwargs=back.kwargs, payload=back.payload)
        assert self.settings.keyring is not None
        return back._replace(options=self.settings.keyring.signed(changed).options)

    def _rejected(self, reject: Reject) -> Outcome:
        """Requeue the task, or fail it for good without ``on_failure``: the task has rejected its message."""
        self.error = reject
        report.report(self, report.REFUSED, reject)
        if reject.requeue:
            return outcome.requeued(self.job, f"rejected: {decode.reason(reject.reason)}")
        if signals.task_failure and not self.settings.eager:
            report.tell_failure(self, reject, ExceptionInfo(reject, self.settings.max_error_size))
        ended = outcome.failed(self.job, self._dumped(reject), None, self.runtime)
        return self._ended(ended, reject, state=REJECTED)

    def _failed(self, error: BaseException) -> Outcome:
        self.error = error
        info = ExceptionInfo(error, self.settings.max_error_size)
        traceback = info.traceback if info.tb else None
        ended = self._ended(outcome.failed(self.job, self._dumped(error), traceback, self.runtime), error, info)
        report.report(self, report.FAILED, error, info)
        return ended

    def _dumped(self, error: BaseException) -> str:
        return serialization.dumps_exception(error, self.settings.max_error_size)

    def handle(self, name: str, about: tuple[Any, ...], *einfo: ExceptionInfo | None) -> None:
        """Call one of the task's handlers; its exceptions are logged and do not change the outcome."""
        if name in self.task.__binding__.handlers:
            depth = forking.depth
            try:
                getattr(self.task, name)(*about, self.request.id, self.call.args, self.call.kwargs, *einfo)
            except BaseException as error:
                forking.leave_new_fork(depth, error)
                if not isinstance(error, Exception):
                    raise
                logger.exception("%s of task %s[%s] raised", name, self.job.name, self.request.id)
                if signals.task_internal_error and name in ("on_failure", "on_retry"):
                    report.tell_internal_error(self, error)
                release(error)
            forking.leave_new_fork(depth)


def _eta(when: float | dt.datetime | None) -> str | None:
    """Return the time of a retry for the request; None for one without a countdown."""
    return when.isoformat() if isinstance(when, dt.datetime) else later(when) if when else None
