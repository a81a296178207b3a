"""The solo pool: one slot, in the main thread, where signals of the operating system arrive."""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any

from lavoro.runtime.timer import raising
from lavoro.worker.child.pools.base import Pool


class SoloPool(Pool):
    """One task at a time; soft limits are alarms, which end even a call into C that waits."""

    def start(self) -> None:
        """The slot is the main thread, which calls ``work``; that is also where signals are handled."""
        self._interruption: Callable[[int, FrameType | None], None] = lambda number, frame: None
        signal.signal(signal.SIGUSR2, self._interrupted)

    def work(self) -> None:
        """Run jobs until stopped."""
        self._work(0)

    limits_hard = False  # there is one alarm, and no other task that the end of the process could harm

    def limit(self, seconds: float, error: BaseException) -> AbstractContextManager[Any]:
        """An alarm of the operating system."""
        return raising(error, after=seconds)

    def interrupt(self, id: uuid.UUID, error: BaseException) -> bool:
        """Raise in the main thread, by a signal: that ends a wait in C too."""
        if id not in self._running:
            return False

        def raise_now(number: int, frame: FrameType | None) -> None:
            if id in self._running:
                raise error

        self._interruption = raise_now
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)
        return True

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        self._interruption(number, frame)


POOL = SoloPool
