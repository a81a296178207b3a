"""The lines of the log about tasks: their texts, which an application may replace, and the data of each record."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

from lavoro.exceptions import Reject
from lavoro.protocol.failure import ExceptionInfo, traceback_of
from lavoro.text.printable import described, told

LOG_RECEIVED = "Task %(name)s[%(id)s] received"
LOG_SUCCESS = "Task %(name)s[%(id)s] succeeded in %(runtime).6fs: %(return_value)s"
LOG_FAILURE = "Task %(name)s[%(id)s] %(description)s: %(exc)s"
LOG_INTERNAL_ERROR = "Task %(name)s[%(id)s] %(description)s: %(exc)s"
LOG_IGNORED = "Task %(name)s[%(id)s] %(description)s"
LOG_REJECTED = "Task %(name)s[%(id)s] %(exc)s"
LOG_RETRY = "Task %(name)s[%(id)s] retry: %(exc)s"

receipts = logging.getLogger("lavoro.worker.received")
"""Logs that a worker has a task."""
outcomes = logging.getLogger("lavoro.task")
"""Logs the outcome."""


def tell_received(request: Any) -> None:
    """Log that a task was received, if a handler takes that level."""
    if receipts.isEnabledFor(logging.INFO):
        eta = request.eta
        data = {
            **_name_and_id(request),
            **_arguments(request),
            "eta": dt.datetime.fromisoformat(eta) if isinstance(eta, str) else eta,
        }
        receipts.info(LOG_RECEIVED, data, extra=_extra(request, data))


def tell_success(request: Any, value: Any, runtime: float, longest: int) -> None:
    """Log that a task has returned, with at most so many characters of its value."""
    if outcomes.isEnabledFor(logging.INFO):
        data = {
            **_name_and_id(request),
            **_arguments(request),
            "return_value": described(value, longest),
            "runtime": runtime,
        }
        outcomes.info(LOG_SUCCESS, data, extra=_extra(request, data))


def tell_failure(request: Any, error: BaseException, info: ExceptionInfo, *, expected: bool) -> None:
    """Log that a task has failed: with a traceback, unless the error was expected or came through no frame."""
    expected = expected and info.tb is not None
    level = logging.INFO if expected else logging.ERROR
    if not outcomes.isEnabledFor(level):
        return
    if info.tb is None:
        data = {**_end(request, "has failed", info.traceback), "exc": error}
    else:
        description = "raised expected" if expected else "raised unexpected"
        data = {**_end(request, description, info.traceback), "exc": described(error)}
    raised = None if expected or info.tb is None else (info.type, error, info.tb)
    extra = {**_extra(request, data), "traceback": info.traceback}
    outcomes.log(level, LOG_FAILURE, data, exc_info=raised, extra=extra)


def tell_unreadable(name: str, id: str, error: Exception) -> None:
    """Log that a task fails because its row cannot be read."""
    data = {"id": id, "name": name, "exc": error, "description": "cannot be read and is set aside", "internal": True}
    outcomes.error(LOG_INTERNAL_ERROR, data, extra={"task_name": name, "task_id": id, "data": data})


def tell_lost(name: str, id: str, error: Exception) -> None:
    """Log the failure of a task whose process was ended, in the words that this process would have used."""
    data = {
        "id": id, "name": name, "exc": described(error), "traceback": traceback_of(error),
        "description": "raised unexpected", "internal": False,
    }  # fmt: skip
    outcomes.error(LOG_FAILURE, data, extra={"task_name": name, "task_id": id, "data": data})


def tell_retry(request: Any, retry: BaseException) -> None:
    """Log that a task is to be tried again."""
    if outcomes.isEnabledFor(logging.INFO):
        data = {**_name_and_id(request), "exc": str(retry)}
        outcomes.info(LOG_RETRY, data, extra=_extra(request, data))


def tell_ignored(request: Any, ignore: BaseException) -> None:
    """Log that a task has asked for no outcome."""
    if outcomes.isEnabledFor(logging.INFO):
        data = {**_end(request, "ignored", traceback_of(ignore)), "exc": described(ignore)}
        outcomes.info(LOG_IGNORED, data, extra=_extra(request, data))


def tell_rejected(request: Any, reject: Reject) -> None:
    """Log that a task has refused its message, and where."""
    if outcomes.isEnabledFor(logging.WARNING):
        exc = f"reject requeue={reject.requeue}: {told(reject.reason)}"
        traceback = traceback_of(reject, request.run_settings.max_error_size)
        data = {**_end(request, "rejected", traceback), "exc": exc}
        raised = type(reject), reject, reject.__traceback__
        outcomes.warning(LOG_REJECTED, data, exc_info=raised, extra={**_extra(request, data), "traceback": traceback})


def _name_and_id(request: Any) -> dict[str, Any]:
    return {"id": request.id, "name": request.shadow or request.task}


def _arguments(request: Any) -> dict[str, Any]:
    return {"args": request.argsrepr, "kwargs": request.kwargsrepr}


def _end(request: Any, description: str, traceback: str) -> dict[str, Any]:
    return {
        "hostname": request.hostname, **_name_and_id(request), **_arguments(request),
        "traceback": traceback, "description": description, "internal": False,
    }  # fmt: skip


def _extra(request: Any, data: dict[str, Any]) -> dict[str, Any]:
    return {"task_name": request.task, "task_id": request.id, "data": data}
