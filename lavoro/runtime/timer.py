"""Raises errors in the main thread after some seconds, by the one alarm that the system has for a process."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType

_pending: list[tuple[float, BaseException]] = []
"""When (monotonic) each error is due; blocks may stand in each other."""


@contextlib.contextmanager
def raising(error: BaseException, *, after: float) -> Iterator[None]:
    """Raise the error inside the block once so many seconds have passed; a call into C that waits ends early."""
    due = (time.monotonic() + after, error)
    former = signal.signal(signal.SIGALRM, _ring)
    _pending.append(due)
    _arm()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if due in _pending:
            _pending.remove(due)
        signal.signal(signal.SIGALRM, former)
        _arm()


def _arm() -> None:
    if _pending:
        signal.setitimer(signal.ITIMER_REAL, max(min(when for when, _ in _pending) - time.monotonic(), 1e-6))


def _ring(number: int, frame: FrameType | None) -> None:
    """Raise the first error that is due, only once; the alarm for the next one follows."""
    first = min(_pending, key=lambda due: due[0], default=None)
    if first is None:
        return
    if first[0] > time.monotonic():
        _arm()
        return
    _pending.remove(first)
    _arm()
    raise first[1]
