"""Where waiting for results is allowed: not inside a task, unless the task says so."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

from lavoro.compose import calling_task

_join_allowed: contextvars.ContextVar[bool | None] = contextvars.ContextVar("lavoro_join_allowed", default=None)
"""None: only outside of tasks."""


@contextlib.contextmanager
def allow_join_result() -> Iterator[None]:
    """Allow ``get()`` inside a task, for those who know that another slot is free to run what they wait for."""
    with _joining(True):
        yield


@contextlib.contextmanager
def denied_join_result() -> Iterator[None]:
    """Refuse ``get()`` in the block, as it is refused inside a task."""
    with _joining(False):
        yield


@contextlib.contextmanager
def _joining(allowed: bool) -> Iterator[None]:
    token = _join_allowed.set(allowed)
    try:
        yield
    finally:
        _join_allowed.reset(token)


def assert_will_not_block() -> None:
    """Raise ``RuntimeError`` where ``get()`` is refused: inside a task."""
    allowed = _join_allowed.get()
    if not allowed and (allowed is False or calling_task() is not None):
        raise RuntimeError("never call result.get() within a task: link the tasks, or use allow_join_result()")
