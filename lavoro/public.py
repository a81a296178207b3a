"""The public names of the package, which ``lavoro`` imports at the first use of one."""

from lavoro.app import Lavoro
from lavoro.canvas import (
    Signature,
    chain,
    chord,
    chunks,
    group,
    maybe_signature,
    maybe_subtask,
    signature,
    subtask,
    xmap,
    xstarmap,
)
from lavoro.definition.handing import given
from lavoro.execution.context import current as _request
from lavoro.keys import Limit, Rate, Unique
from lavoro.log import get_task_logger
from lavoro.protocol.ids import uuid7 as _uuid7
from lavoro.result import AsyncResult, EagerResult, GroupResult, ResultSet, allow_join_result
from lavoro.runtime.current_app import Proxy as _Proxy
from lavoro.runtime.current_app import get as _get_app
from lavoro.shared import shared_task
from lavoro.task import Task

Celery = Lavoro
current_app: Lavoro = _Proxy(_get_app)  # type: ignore[assignment]
"""The application of this thread, looked up at each use."""
current_task: Task[..., object] = _Proxy(  # type: ignore[assignment]
    lambda: (request := _request.get()) and _get_app().tasks.get(request.owner)
)
"""The task that is running here, looked up at each use."""


def uuid() -> str:
    """Return a new task id, for ``apply_async(task_id=...)``."""
    return str(_uuid7())


def bugreport(app: Lavoro | None = None) -> str:
    """Return what a report of a fault should hold."""
    return (app if app is not None else current_app).bugreport()


__all__ = [
    "AsyncResult",
    "Celery",
    "EagerResult",
    "GroupResult",
    "Lavoro",
    "Limit",
    "Rate",
    "ResultSet",
    "Signature",
    "Task",
    "Unique",
    "allow_join_result",
    "bugreport",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "get_task_logger",
    "given",
    "group",
    "maybe_signature",
    "maybe_subtask",
    "shared_task",
    "signature",
    "subtask",
    "uuid",
    "xmap",
    "xstarmap",
]
