"""Reports the end of a run to the task's handlers, the signals and the log, by one table."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from lavoro import signals, task_log
from lavoro.exceptions import Reject, TaskRevokedError, WorkerLostError
from lavoro.protocol.failure import ExceptionInfo
from lavoro.states import FAILURE, IGNORED, REJECTED, RETRY, REVOKED, SUCCESS

if TYPE_CHECKING:
    from lavoro.execution.executor import Run

logger = logging.getLogger("lavoro.task")


class End(NamedTuple):
    """One way in which a run ends; the end is reported to its fields in this order."""

    state: str
    handler: str
    """Its name; empty: none is called."""
    signal: signals.Signal | None
    send: Callable[[Run, Any, Any], object]
    """Sends the signal, with the value or the exception of the run, and its ``einfo``."""
    log: Callable[[Run, Any, Any], object]
    after_return: bool
    """Whether that handler is called."""


def report(run: Run, end: End, value: Any, info: ExceptionInfo | None = None, *, cause: Any = None) -> None:
    """Report an end; the handler gets the cause of the exception if it has one, else the exception itself."""
    handlers = run.task.__binding__.handlers
    if handlers and end.handler in handlers:
        run.handle(end.handler, (value if cause is None else cause,), *(() if info is None else (info,)))
    if end.signal is not None and end.signal.receivers:  # the truth of the signal itself would cost one more call
        end.send(run, value, info)
    end.log(run, value, info)
    if handlers and end.after_return and "after_return" in handlers:
        run.handle("after_return", (end.state, value), info)
    if signals.task_postrun.receivers:
        tell_postrun(run, end.state, value)


def tell_postrun(run: Run, state: str | None, value: Any) -> None:
    """Send ``task_postrun``."""
    call = run.call
    signals.task_postrun.send(
        run.task, task_id=run.request.id, task=run.task, args=call.args, kwargs=call.kwargs, retval=value, state=state
    )


def report_refused(run: Run) -> None:
    """Report a task that does not start, because it was revoked or has expired."""
    expired = not run.job.revoked
    about = f"expired at {run.job.expires}" if expired else "revoked"
    logger.info("Discarding revoked task: %s[%s]: %s", run.job.name, run.request.id, about)
    if signals.task_revoked:
        _tell_revoked(run, None, expired=expired)


def report_lost(run: Run, error: BaseException, signal: object) -> None:
    """Report what Celery reports in its main process: no ``task_postrun``, which the run has not reached."""
    if isinstance(error, TaskRevokedError):
        if signals.task_revoked:
            _tell_revoked(run, signal_number(signal))
        return
    info = ExceptionInfo(error, run.settings.max_error_size)
    run.handle("on_failure", (error,), info)
    run.handle("after_return", (FAILURE, error), info)
    if signals.task_failure:
        tell_failure(run, error, info)


def tell_failure(run: Run, error: BaseException, info: ExceptionInfo) -> None:
    """Send ``task_failure``; as in Celery, the traceback is text where the worker ends the task, not the run."""
    as_text = isinstance(error, Reject) or (isinstance(error, WorkerLostError) and info.tb is None)
    signals.task_failure.send(
        run.task, task_id=run.request.id, exception=error, args=run.call.args, kwargs=run.call.kwargs,
        traceback=info.traceback if as_text else info.tb, einfo=info,
    )  # fmt: skip


def tell_internal_error(run: Run, error: Exception) -> None:
    """Send ``task_internal_error``."""
    info = ExceptionInfo(error, run.settings.max_error_size)
    signals.task_internal_error.send(
        run.task, task_id=run.request.id, args=run.call.args, kwargs=run.call.kwargs, request=run.request,
        exception=error, traceback=info.tb, einfo=info,
    )  # fmt: skip


def _tell_revoked(run: Run, signum: int | None, *, expired: bool = False) -> None:
    signals.task_revoked.send(
        run.task, request=run.request, terminated=signum is not None, signum=signum, expired=expired
    )


def _tell_nothing(run: Run, value: Any, info: Any) -> None:
    pass


def _tell_retry(run: Run, retry: Any, info: Any) -> None:
    signals.task_retry.send(run.task, request=run.request, reason=retry, einfo=info)


def _tell_success(run: Run, value: Any, info: Any) -> None:
    signals.task_success.send(run.task, result=value, runtime=run.runtime)


def _tell_cancelled(run: Run, error: Any, info: Any) -> None:
    assert run.raised is not None
    _tell_revoked(run, signal_number(*run.raised.args))


def _log_success(run: Run, value: Any, info: Any) -> None:
    task_log.tell_success(run.request, value, run.runtime, run.task.resultrepr_maxsize)


def _log_retry(run: Run, retry: Any, info: Any) -> None:
    task_log.tell_retry(run.request, retry)


def _log_ignored(run: Run, ignore: Any, info: Any) -> None:
    task_log.tell_ignored(run.request, ignore)


def _log_rejected(run: Run, reject: Any, info: Any) -> None:
    task_log.tell_rejected(run.request, reject)


def _log_cancelled(run: Run, error: Any, info: Any) -> None:
    data = {"task_name": run.job.name, "task_id": run.request.id}
    logger.info("Task %s[%s] revoked while it ran", run.job.name, run.request.id, extra=data)


def _log_failure(run: Run, error: BaseException, info: Any) -> None:
    task_log.tell_failure(run.request, error, info, expected=isinstance(error, run.task.throws))


SUCCEEDED = End(SUCCESS, "on_success", signals.task_success, _tell_success, _log_success, True)
FAILED = End(FAILURE, "on_failure", signals.task_failure, tell_failure, _log_failure, True)
RETRIED = End(RETRY, "on_retry", signals.task_retry, _tell_retry, _log_retry, False)
IGNORING = End(IGNORED, "", None, _tell_nothing, _log_ignored, False)
REFUSED = End(REJECTED, "", None, _tell_nothing, _log_rejected, False)
CANCELLED = End(REVOKED, "", signals.task_revoked, _tell_cancelled, _log_cancelled, False)


def signal_number(name: object = None) -> int:
    """Return the number of a signal as ``revoke`` names it: SIGTERM, TERM or 15. An unknown one is SIGTERM."""
    if isinstance(name, int):
        return name
    text = str(name or "").upper()
    found = getattr(signal, text if text.startswith("SIG") else f"SIG{text}", signal.SIGTERM)
    return int(found) if isinstance(found, signal.Signals) else int(signal.SIGTERM)
