"""Lavoro: a task queue for Python web applications that stores every task in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

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

if TYPE_CHECKING:
    from lavoro.public import (
        AsyncResult,
        Celery,
        EagerResult,
        GroupResult,
        Lavoro,
        Limit,
        Rate,
        ResultSet,
        Signature,
        Task,
        Unique,
        allow_join_result,
        bugreport,
        chain,
        chord,
        chunks,
        current_app,
        current_task,
        get_task_logger,
        given,
        group,
        maybe_signature,
        maybe_subtask,
        shared_task,
        signature,
        subtask,
        uuid,
        xmap,
        xstarmap,
    )
else:
    from importlib import import_module

    def __getattr__(name):
        """Load a public name or a module at its first use; ``lavoro --version`` uses none."""
        if name in __all__:
            public = import_module("lavoro.public")
            globals().update({each: getattr(public, each) for each in __all__})
            return globals()[name]
        if not name.startswith("_"):
            try:
                return import_module(f"lavoro.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"lavoro.{name}":
                    raise
            absent = import_module("lavoro.config.absent")
            absent.missing(f"lavoro.{name}", absent.MissingName)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})
