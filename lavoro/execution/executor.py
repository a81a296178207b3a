"""Running: a job and its task become an outcome; nothing is raised and nothing is written."""

from __future__ import annotations

import contextlib
import contextvars
import datetime as dt
import logging
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any, NamedTuple

from lavoro import serialization, signals, task_log
from lavoro.exceptions import (
    Ignore,
    ImproperlyConfigured,
    InvalidTaskError,
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    TaskRevokedError,
    TimeLimitExceeded,
    WorkerLostError,
)
from lavoro.execution import prints
from lavoro.execution.context import Context, current
from lavoro.execution.coroutines import UNAWAITED, unawaited_error
from lavoro.protocol import outcome
from lavoro.protocol.durations import later
from lavoro.protocol.failure import MOST, ExceptionInfo, printable, release
from lavoro.protocol.message import VERSION, Job, pack_options
from lavoro.protocol.outcome import Outcome, Requeued
from lavoro.protocol.signing import Keyring
from lavoro.runtime import forking
from lavoro.states import FAILURE, IGNORED, REJECTED, RETRY, SUCCESS
from lavoro.text.printable import cut, told

logger = logging.getLogger("lavoro.task")


_CHANGED = ("queue", "priority", "expires", "expires_in", "args", "kwargs", "payload")
"""What a retry may change, beside its time and options."""
REASON = 1000
"""Characters kept of the reason for which a task goes back to its queue."""
_no_limit: AbstractContextManager[None] = contextlib.nullcontext()


class Cancelled(BaseException):
    """Thrown into a running task that was revoked with ``terminate=True``."""


class OutOfTime(BaseException):
    """Raised in a running task at its hard limit, where the pool can; no ``except Exception`` of the task stops it."""


class Newer(Exception):
    """The message is one of a later release's."""


class RunSettings(NamedTuple):
    """What every run on this worker process has in common."""

    hostname: str
    accept: frozenset[str] = frozenset({"json"})
    max_result_size: int = 16_000_000
    max_error_size: int = MOST
    """Characters that are kept of an exception's arguments, and of its traceback."""
    limit: Callable[[float, BaseException], AbstractContextManager[Any]] = lambda seconds, error: _no_limit
    """Raises the error inside the block after so many seconds; the pool's own way of doing it."""
    limits_hard: bool = False
    """Whether ``limit`` is to enforce hard limits too; the supervisor enforces them in any case, more roughly."""
    report: Callable[[Job, str, Any], None] | None = None
    """Stores a state of the task's own with its metadata."""
    eager: bool = False
    together: int = 1
    """Tasks that run in this process at once, and share what it has."""
    strict_results: bool = False
    """Whether a result that cannot be stored fails its task; else null is stored."""
    patience: tuple[float, float] = (1.0, 300.0)
    """Seconds for which a task waits that only a newer release understands, and the most they grow to."""
    consumer: Any = None
    """The sender of signals that are about no known task."""
    keyring: Keyring | None = None
    """Verifies signatures; None: there are none, or they are not looked at."""


def execute(task: Any, job: Job, node: RunSettings) -> Outcome:
    """Run one job to its outcome, and free the memory of an exception that ended it."""
    run = Run(task, job, node)
    ended = run.outcome()
    if run.raised is not None:
        release(run.raised)  # only here: the frames of the run itself have ended too
        run.let_go()
    return ended


def request_of(task: Any, job: Job, node: RunSettings) -> Context:
    """Return the request a task will have, for those who want it before; raises what makes the task unreadable."""
    run = Run(task, job, node)
    run._decode()
    return run.request


def handle_end(task: Any, job: Job, node: RunSettings, error: BaseException, *, signal: object = None) -> None:
    """Call the handlers and send the signal of a task whose process was ended, here, in another one."""
    run = Run(task, job, node)
    contextvars.copy_context().run(run.handle_end, error, signal)


class Run:
    """One start of one task; afterwards ``value`` and ``error`` hold what it returned or raised."""

    __slots__ = (
        "args",
        "call",
        "error",
        "job",
        "kwargs",
        "node",
        "options",
        "raised",
        "request",
        "signed",
        "started",
        "task",
        "value",
    )

    def __init__(self, task: Any, job: Job, node: RunSettings, call: tuple[Any, Any] | None = None) -> None:
        self.task = task
        self.job = job
        self.node = node
        self.started = perf_counter()
        self.args: Any = ()
        self.kwargs: Any = {}
        self.options: dict[str, Any] = {}
        self.call = call
        self.value: Any = None
        self.error: BaseException | None = None
        self.raised: BaseException | None = None
        """The exception that ended it, a failure or not."""
        self.signed = False

    def outcome(self) -> Outcome:
        """Run, in a copy of the context: variables that the task sets are gone afterwards."""
        return contextvars.copy_context().run(self._outcome)

    def let_go(self) -> None:
        """Drop all references: a log record may keep an exception, whose frames refer to this run."""
        for name in self.__slots__:
            setattr(self, name, None)

    def _outcome(self) -> Outcome:
        try:
            self._decode()
        except Newer as newer:
            return self._left(newer)
        except Exception as error:
            self.raised = error
            return self._unreadable(error)
        if self.job.revoked or self.job.expired:
            return self._refused()
        current.set(self.request)
        try:
            self.value = self._call()
            return self._succeeded(self.value)
        except BaseException as error:  # SystemExit, GreenletExit and their like end the task, never the worker
            self.raised = error
            return self._ended(error)

    def _ended(self, error: BaseException) -> Outcome:
        """Return the outcome of an exception that the task has raised."""
        pending: Retry | None = vars(self.request).get("retry_pending")
        if pending is not None and isinstance(error, Exception) and not isinstance(error, Retry):
            if not isinstance(error, (Ignore, Reject)):
                pending.exc = pending.exc or error
            error = pending  # retry(throw=False): the task is tried again, however this run ends
        if isinstance(error, Retry) and error.task_id in (None, self.request.id):
            return self._retried(error)
        if isinstance(error, Ignore):
            return self._ignored(error)
        if isinstance(error, Reject):
            return self._rejected(error)
        if isinstance(error, Cancelled):
            return self._cancelled(error)
        if isinstance(error, OutOfTime):
            return self._failed(TimeLimitExceeded(*error.args).with_traceback(error.__traceback__))
        return self._failed(error)

    # Before

    def _decode(self) -> None:
        if self.node.keyring is not None:
            self._verify(self.node.keyring)
        job = self.job
        if job.options is not None:
            self.options = job.read_options()
            if (version := self.options.get("v", VERSION)) > VERSION:
                raise Newer(
                    f"made by a later release: worker {self.node.hostname} knows version {VERSION}, not {version}"
                )
        if self.call is not None:
            self.args, self.kwargs = self.call
        elif job.payload is None:
            self.args = serialization.loads(job.args) if job.args is not None else []
            self.kwargs = serialization.loads(job.kwargs) if job.kwargs is not None else {}
        else:
            self.args, self.kwargs = serialization.decode(
                job.payload, self.options.get("content_type", "application/json"), self.node.accept
            )
        if not isinstance(self.args, (list, tuple)) or not isinstance(self.kwargs, dict):
            found = f"{type(self.args).__name__} and {type(self.kwargs).__name__}"
            raise InvalidTaskError(f"args must be a list and kwargs an object, not {found}")
        self.request = Context.of(
            job, self.args, self.kwargs, self.options, node=self.node, outer=current.get(), declared=self.task
        )

    def _verify(self, keyring: Keyring) -> None:
        job = keyring.verified(self.job)
        self.signed, self.job = job is not self.job, job

    def _left(self, newer: Newer) -> Outcome:
        logger.error("task %s[%s] is left for another worker: %s", self.job.name, self.job.task_id, newer)
        return outcome.postponed(self.job, _reason(newer), *self.node.patience)

    def _unreadable(self, error: Exception) -> Outcome:
        task_log.tell_unreadable(self.job.name, self.job.task_id, error)
        if signals.task_rejected:
            signals.task_rejected.send(self.node.consumer, message=self.job, exc=error)
        return outcome.failed(self.job, self._dumped(error), ExceptionInfo(error, self.node.max_error_size).traceback)

    def _refused(self) -> Outcome:
        expired = not self.job.revoked
        reason = "expired" if expired else "revoked"
        about = f"expired at {self.job.expires}" if expired else reason
        logger.info("Discarding revoked task: %s[%s]: %s", self.job.name, self.request.id, about)
        if signals.task_revoked:
            self._tell_revoked(None, expired=expired)
        return outcome.revoked(self.job, serialization.dumps_exception(TaskRevokedError(reason)))

    # During

    def _call(self) -> Any:
        task, args, kwargs = self.task, self.args, self.kwargs
        if signals.task_prerun:
            signals.task_prerun.send(task, task_id=self.request.id, task=task, args=args, kwargs=kwargs)
        if task.__starts__:
            task.before_start(self.request.id, args, kwargs)
        if forking.depth and not self.node.eager:
            forking.leave_fork()  # before_start has forked: the task runs in the parent
        soft = self.options.get("soft_time_limit") or task.soft_time_limit
        hard = (self.options.get("time_limit") or task.time_limit) if self.node.limits_hard else None
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("Task %s[%s] started", self.job.name, self.request.id, extra=self._record())
        try:
            value = self._call_limited(soft, hard) if soft or hard else self._enter()
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
                limits.enter_context(self.node.limit(hard, OutOfTime(f"hard time limit of {hard:g} s")))
            if soft:
                error = SoftTimeLimitExceeded(f"soft time limit of {soft:g} s")
                limits.enter_context(self.node.limit(soft, error))
            return self._enter()

    def _enter(self) -> Any:
        """Call the task's function. A process that it has forked ends here; the parent does the rest."""
        try:
            value = self.task.__entry__(*self.args, **self.kwargs)
        except BaseException as error:
            if forking.depth and not self.node.eager:
                forking.leave_fork(error)
            raise
        if forking.depth and not self.node.eager:
            forking.leave_fork()
        if type(value) in UNAWAITED:
            raise unawaited_error(self.job.name, value)
        return value

    # After

    def _succeeded(self, value: Any) -> Outcome:
        try:
            text, payload = self._encode_result(value)
        except Exception as error:
            if self.node.strict_results:
                return self._unstorable(error)
            self.raised = error
            text, payload = "null", None
            _warn_of_null(self.job.name, error)
        runtime = perf_counter() - self.started
        self._handle("on_success", value)
        if signals.task_success:
            signals.task_success.send(self.task, result=value, runtime=runtime)
        task_log.tell_success(self.request, value, runtime, self.task.resultrepr_maxsize)
        self._returned(SUCCESS, value, None)
        return outcome.succeeded(self.job, text, runtime, payload=payload, children=self._children())

    def _children(self) -> str | None:
        sent = self.request.__dict__.get("children")
        return serialization.dumps([result.id for result in sent]) if sent else None

    def _encode_result(self, value: Any) -> tuple[str | None, bytes | None]:
        if self.node.eager or self._ignores_result():
            return None, None
        serializer = self.task.result_serializer
        if serializer == "json":
            text = "null" if value is None else serialization.dumps(value)
            self._check_size(len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")))
            return text, None
        encoded = serialization.encode(value, serializer)
        payload = encoded.data if isinstance(encoded.data, bytes) else encoded.data.encode()
        self._check_size(len(payload))
        return serialization.dumps(encoded.content_type), payload

    def _check_size(self, size: int) -> None:
        if size > self.node.max_result_size:
            raise ValueError(
                f"it has {size:,} bytes, more than {self.node.max_result_size:,} (setting lavoro_max_result_size);"
                " store it elsewhere and return where it is"
            )

    def _ignores_result(self) -> bool:
        ignore = self.options.get("ignore_result")
        return bool(self.task.ignore_result if ignore is None else ignore)

    def _retried(self, retry: Retry) -> Outcome:
        info = ExceptionInfo(retry, self.node.max_error_size)
        cause = retry.exc or retry
        self._handle("on_retry", cause, einfo=info)
        if signals.task_retry:
            signals.task_retry.send(self.task, request=self.request, reason=retry, einfo=info)
        task_log.tell_retry(self.request, retry)
        self._returned(RETRY, retry, info, handlers=False)
        changes = getattr(retry, "changes", {})
        options = {**self.options, **(changes.get("options") or {}), "eta": _eta(retry.when)}
        back = outcome.retrying(
            self.job,
            eta=retry.when if isinstance(retry.when, dt.datetime) else None,
            countdown=None if isinstance(retry.when, dt.datetime) else float(retry.when or 0),
            **{name: changes.get(name) for name in _CHANGED},
            options=packed if (packed := pack_options(options)) != self.job.options else None,
            reason=_reason(retry),
            error=self._dumped(cause),
            traceback=info.traceback,
        )
        return self._signed_again(back) if self.signed else back

    def _signed_again(self, back: Requeued) -> Requeued:
        """Sign what the next try has different."""
        if back.options is None and back.args is None and back.payload is None:
            return back
        changed = self.job._replace(options=back.options or self.job.options)
        if back.args is not None or back.payload is not None:
            changed = changed._replace(args=back.args, kwargs=back.kwargs, payload=back.payload)
        assert self.node.keyring is not None
        return back._replace(options=self.node.keyring.signed(changed).options)

    def _ignored(self, ignore: Ignore) -> Outcome:
        task_log.tell_ignored(self.request, ignore)
        self._returned(IGNORED, ignore, None, handlers=False)
        return outcome.ignored(self.job, perf_counter() - self.started)

    def _rejected(self, reject: Reject) -> Outcome:
        """Put the task back, or fail it: the message is refused for good, and ``on_failure`` is not called."""
        self.error = reject
        task_log.tell_rejected(self.request, reject)
        self._returned(REJECTED, reject, None, handlers=False)
        if reject.requeue:
            return outcome.requeued(self.job, f"rejected: {_reason(reject.reason)}")
        if signals.task_failure:
            self._tell_failure(reject, ExceptionInfo(reject, self.node.max_error_size))
        return outcome.failed(self.job, self._dumped(reject), None, perf_counter() - self.started)

    def _cancelled(self, cancelled: Cancelled) -> Outcome:
        logger.info("Task %s[%s] revoked while it ran", self.job.name, self.request.id, extra=self._record())
        if signals.task_revoked:
            self._tell_revoked(signal_number(*cancelled.args))
        error = TaskRevokedError("terminated")
        self._returned("REVOKED", error, None, handlers=False)
        return outcome.revoked(self.job, serialization.dumps_exception(error), perf_counter() - self.started)

    def _unstorable(self, error: Exception) -> Outcome:
        """Fail a task whose result cannot be stored, without a traceback: that would show Lavoro's code alone."""
        kind = type(error) if type(error) in (TypeError, ImproperlyConfigured) else ValueError
        self.raised = error
        return self._failed(kind(f"the result of {self.job.name} cannot be stored: {told(error)}"))

    def _failed(self, error: BaseException) -> Outcome:
        info = ExceptionInfo(error, self.node.max_error_size)
        self.error = error
        self._handle("on_failure", error, einfo=info)
        if signals.task_failure:
            self._tell_failure(error, info)
        task_log.tell_failure(self.request, error, info, expected=isinstance(error, self.task.throws))
        self._returned(FAILURE, error, info)
        runtime = perf_counter() - self.started
        return outcome.failed(self.job, self._dumped(error), info.traceback if info.tb else None, runtime)

    def handle_end(self, error: BaseException, signal: object) -> None:
        """Call what Celery calls in its main process: no ``task_postrun``, for the run has not come to it."""
        self._decode()
        current.set(self.request)
        if isinstance(error, TaskRevokedError):
            if signals.task_revoked:
                self._tell_revoked(signal_number(signal))
            return
        info = ExceptionInfo(error, self.node.max_error_size)
        self._handle("on_failure", error, einfo=info)
        self._handle("after_return", FAILURE, error, einfo=info, always=True)
        if signals.task_failure:
            self._tell_failure(error, info)

    def _tell_revoked(self, signum: int | None, *, expired: bool = False) -> None:
        signals.task_revoked.send(
            self.task, request=self.request, terminated=signum is not None, signum=signum, expired=expired
        )

    def _tell_failure(self, error: BaseException, info: ExceptionInfo) -> None:
        """Send ``task_failure``; as in Celery, the traceback is text where the worker ends the task, not the run."""
        as_text = isinstance(error, Reject) or (isinstance(error, WorkerLostError) and info.tb is None)
        signals.task_failure.send(
            self.task, task_id=self.request.id, exception=error, args=self.args, kwargs=self.kwargs,
            traceback=info.traceback if as_text else info.tb, einfo=info,
        )  # fmt: skip

    def _dumped(self, error: BaseException) -> str:
        return serialization.dumps_exception(error, self.node.max_error_size)

    def _returned(self, state: str | None, value: Any, info: ExceptionInfo | None, *, handlers: bool = True) -> None:
        if handlers:
            self._handle("after_return", state, value, einfo=info, always=True)
        if signals.task_postrun:
            signals.task_postrun.send(
                self.task,
                task_id=self.request.id,
                task=self.task,
                args=self.args,
                kwargs=self.kwargs,
                retval=value,
                state=state,
            )

    def _handle(self, name: str, *about: Any, einfo: ExceptionInfo | None = None, always: bool = False) -> None:
        """Call one of the task's handlers; what it raises is logged and does not change the outcome."""
        if name in self.task.__handlers__:
            last, depth = (einfo,) if einfo is not None or always else (), forking.depth
            try:
                getattr(self.task, name)(*about, self.request.id, self.args, self.kwargs, *last)
            except BaseException as error:
                forking.leave_new_fork(depth, error)
                if not isinstance(error, Exception):
                    raise
                logger.exception("%s of task %s[%s] raised", name, self.job.name, self.request.id)
                if signals.task_internal_error and name in ("on_failure", "on_retry"):
                    self._tell_internal_error(error)
                release(error)
            forking.leave_new_fork(depth)

    def _tell_internal_error(self, error: Exception) -> None:
        info = ExceptionInfo(error, self.node.max_error_size)
        signals.task_internal_error.send(
            self.task, task_id=self.request.id, args=self.args, kwargs=self.kwargs, request=self.request,
            exception=error, traceback=info.tb, einfo=info,
        )  # fmt: skip

    def _record(self) -> dict[str, Any]:
        return {"task_name": self.job.name, "task_id": self.request.id}


def _eta(when: float | dt.datetime | None) -> str | None:
    """Return the time of a retry as the request tells it: none for one without a countdown."""
    return when.isoformat() if isinstance(when, dt.datetime) else later(when) if when else None


_nulls: set[str] = set()
"""The tasks of which a result could not be stored."""


def _warn_of_null(name: str, error: Exception) -> None:
    """Say once for each task that its result is not kept, and what to do."""
    if name not in _nulls:
        _nulls.add(name)
        logger.warning(
            "the result of %s cannot be stored, null is stored instead: %s; return plain data, or declare it with"
            " ignore_result=True; lavoro_strict_results=True lets such tasks fail",
            name, told(error),
        )  # fmt: skip


def _reason(said: object) -> str:
    """Return the reason for which a task goes back, as it is stored."""
    return printable(cut(told(said), REASON))


def signal_number(name: object = None) -> int:
    """Return the number of a signal that is named as for ``revoke``: SIGTERM, TERM or 15; what is none is SIGTERM."""
    if isinstance(name, int):
        return name
    text = str(name or "").upper()
    found = getattr(signal, text if text.startswith("SIG") else f"SIG{text}", signal.SIGTERM)
    return int(found) if isinstance(found, signal.Signals) else int(signal.SIGTERM)
