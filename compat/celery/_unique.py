"""The unique key of a task that names arguments, for the bases of celery-once and celery-singleton."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable
from typing import Any

from lavoro import Task, Unique, serialization


def unique_on(task: Task[..., Any], names: str | Iterable[str] | None, *, until: str = "done") -> Unique:
    """Return the option ``unique`` for these arguments of a task; None: for all of them.

    Raises ``ValueError`` for an argument that the function does not have.
    """
    chosen = [names] if isinstance(names, str) else list(names or ())
    if not chosen:
        return Unique(until=until)
    signature = inspect.signature(task.run)
    unknown = [name for name in chosen if name not in signature.parameters]
    if unknown:
        raise ValueError(
            f"task {task.name!r} is unique on the argument {unknown[0]!r}, which its function does not have"
        )

    def key(*args: Any, **kwargs: Any) -> str:
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        return hashlib.sha256(serialization.dumps([call.arguments[name] for name in chosen]).encode()).hexdigest()

    return Unique(key, until=until)
