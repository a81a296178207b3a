"""The import package celery_once, with unique tasks of Lavoro behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery._unique import unique_on

from lavoro import EagerResult, Task, states

__all__ = ["AlreadyQueued", "QueueOnce"]


class AlreadyQueued(Exception):
    """The same call waits or runs already.

    ``countdown`` is the ``timeout`` of the task in seconds, 3600 by default: the lock ends with the task, at no time
    that is known before.
    """

    def __init__(self, countdown: float, message: str = "the task is queued already") -> None:
        super().__init__(message)
        self.countdown, self.message = countdown, message


class QueueOnce(Task[..., Any]):
    """Base of tasks that are queued once at a time: ``@app.task(base=QueueOnce, once={"keys": ["order"]})``.

    ``keys`` names the arguments that tell calls apart; ``graceful`` gives a rejected result instead of an error;
    ``unlock_before_run`` lets the next call in once the task starts. ``timeout`` is not needed: the lock is part of the
    task's row, so it ends with the task, also when its worker dies. The setting ``ONCE`` is not read.
    """

    abstract = True
    once: Mapping[str, Any] = {"graceful": False, "unlock_before_run": False}

    def bind(self, app: Any) -> None:
        """Make the task unique, and one of this application."""
        until = "start" if self.once.get("unlock_before_run") else "done"
        self.unique = unique_on(self, self.once.get("keys"), until=until)
        super().bind(app)

    def apply_async(self, args: Any = None, kwargs: Any = None, *positional: Any, **options: Any) -> Any:
        """Send the task; raises ``AlreadyQueued``, or with ``graceful`` returns a rejected result."""
        once = {**self.once, **options.pop("once", {})}
        result = super().apply_async(args, kwargs, *positional, **options)
        if getattr(result, "created", True):
            return result
        if once.get("graceful"):
            return EagerResult("", None, states.REJECTED)
        raise AlreadyQueued(once.get("timeout") or 3600, f"task {self.name} is queued already, as {result.id}")
