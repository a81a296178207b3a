"""Forbids to wait for results inside a task, unless the task allows it."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

from lavoro.execution.context import current

_join_allowed: contextvars.ContextVar[bool | None] = contextvars.ContextVar("lavoro_join_allowed", default=None)
"""None: only outside of a worker's tasks."""


@contextlib.contextmanager
def allow_join_result() -> Iterator[None]:
    """Allow ``get()`` inside a task, which must know that another slot is free to run the other task."""
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


def task_join_will_block() -> bool:
    """Return whether ``get()`` is refused here: inside a task."""
    allowed = _join_allowed.get()
    return not (_outside_of_a_worker() if allowed is None else allowed)


def assert_will_not_block() -> None:
    """Raise ``RuntimeError`` if ``get()`` is refused here."""
    if task_join_will_block():
        raise RuntimeError(
            "Never call result.get() within a task! Let the task send the next one, or use allow_join_result()"
        )


def _outside_of_a_worker() -> bool:
    """Return whether this code runs outside of a worker's tasks; tasks of ``apply`` may wait."""
    request = current.get()
    while request is not None and (request.job is None or request.is_eager):
        request = request.outer
    return request is None
