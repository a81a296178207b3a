"""Lavoro: a task queue for Python web applications that stores every task in PostgreSQL."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from lavoro import absent as _absent
from lavoro.app import Lavoro
from lavoro.context import current as _request
from lavoro.current import Proxy as _Proxy
from lavoro.current import get as _get_app
from lavoro.log import get_task_logger
from lavoro.result import AsyncResult, EagerResult, allow_join_result
from lavoro.shared import shared_task
from lavoro.task import Task

__version__ = "0.1.0"

Celery = Lavoro
current_app: Lavoro = _Proxy(_get_app)  # type: ignore[assignment]
"""The application of this thread, looked up at each use."""
current_task: Task[..., object] = _Proxy(  # type: ignore[assignment]
    lambda: (request := _request.get()) and _get_app().tasks.get(request.task)
)
"""The task that is running here, looked up at each use."""

__all__ = [
    "AsyncResult",
    "Celery",
    "EagerResult",
    "Lavoro",
    "Task",
    "allow_join_result",
    "current_app",
    "current_task",
    "get_task_logger",
    "shared_task",
]

if not _TYPE_CHECKING:  # or every wrong name would pass the type check

    def __getattr__(name: str) -> object:
        """Say of what Celery's package has, and this has not, what to do instead."""
        _absent.missing(f"lavoro.{name}", _absent.MissingName)
        raise AttributeError(f"module 'lavoro' has no attribute {name!r}")
