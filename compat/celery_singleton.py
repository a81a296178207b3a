"""The import package celery_singleton, with unique tasks of Lavoro behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery._unique import unique_on

from lavoro import Task

__all__ = ["DuplicateTaskError", "Singleton"]


class DuplicateTaskError(Exception):
    """The same call waits or runs already, as ``task_id``."""

    def __init__(self, message: str, task_id: str | None = None) -> None:
        super().__init__(message, task_id)
        self.task_id = task_id

    def __str__(self) -> str:
        return str(self.args[0])


class Singleton(Task[..., Any]):
    """Base of tasks that exist once at a time: a second call gets the result of the first.

    ``unique_on`` names the arguments that tell calls apart. With ``raise_on_duplicate``, or the setting
    ``singleton_raise_on_duplicate``, a second call raises ``DuplicateTaskError``. ``lock_expiry`` is not needed: the
    lock is part of the task's row, so it ends with the task, also when its worker dies.
    """

    abstract = True
    unique_on: str | Iterable[str] | None = None
    raise_on_duplicate: bool | None = None
    lock_expiry: float | None = None

    def bind(self, app: Any) -> None:
        """Make the task unique, and one of this application."""
        self.unique = unique_on(self, self.unique_on)
        super().bind(app)

    def apply_async(self, args: Any = None, kwargs: Any = None, *positional: Any, **options: Any) -> Any:
        """Send the task, or return the result of the one that waits or runs."""
        result = super().apply_async(args, kwargs, *positional, **options)
        strict = self.raise_on_duplicate
        if strict is None:
            strict = self.app.conf.get("singleton_raise_on_duplicate", False)
        if strict and not getattr(result, "created", True):
            raise DuplicateTaskError(f"task {self.name} exists already, as {result.id}", task_id=result.id)
        return result
