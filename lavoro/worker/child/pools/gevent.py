"""The gevent pool: slots are greenlets, and waiting for the network costs nothing."""

from __future__ import annotations

import contextlib
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any, NamedTuple

import gevent

from lavoro.runtime.native import NativeThread, unpatched
from lavoro.worker.child.pools.base import Pool

LATE = 0.25
"""Seconds after which a limit that the hub has not enforced is enforced by a signal."""


class Limit(NamedTuple):
    """A time limit of a task that runs."""

    timer: gevent.Timeout
    greenlet: object
    deadline: float
    error: BaseException


class GeventPool(Pool):
    """Greenlets; limits and interruptions reach a task when it next waits for something.

    Limits also reach a task that never yields to the loop: a signal interrupts the main thread, and Python calls its
    handler in the running greenlet. Only a call into C that neither returns nor checks for signals goes on.
    """

    shares_loop = True

    def start(self) -> None:
        """Start the slots."""
        self._limits: set[Limit] = set()
        self._watching = False
        self._main: int = unpatched("_thread", "get_ident")()  # the patched one knows greenlets alone
        signal.signal(signal.SIGUSR2, self._interrupted)
        super().start()

    def begin(self) -> None:
        """Yield twice: a slot begins in the first turn of the hub; in the second an outcome that it has is sent."""
        gevent.sleep(0)
        gevent.sleep(0)

    def handle(self) -> Any:
        """The greenlet itself."""
        return gevent.getcurrent()

    def limit(self, seconds: float, error: BaseException) -> AbstractContextManager[Any]:
        """A timer of the hub, and a signal where the hub does not run."""
        return self._limited(seconds, error)

    @contextlib.contextmanager
    def _limited(self, seconds: float, error: BaseException) -> Iterator[None]:
        if not self._watching:
            self._watching = True
            NativeThread("time limits", self._enforce).start()
        with gevent.Timeout(seconds, error) as timer:
            limit = Limit(timer, gevent.getcurrent(), time.monotonic() + seconds, error)
            self._limits.add(limit)
            try:
                yield
            finally:
                self._limits.discard(limit)

    def _enforce(self) -> float:
        """Interrupt the main thread as long as a limit is overdue; in a thread of the operating system."""
        if self._overdue():
            signal.pthread_kill(self._main, signal.SIGUSR2)
        return LATE

    def _overdue(self) -> list[Limit]:
        now = time.monotonic() - LATE
        return [limit for limit in list(self._limits) if limit.deadline < now and limit.timer.pending]

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        here = gevent.getcurrent()
        for limit in self._overdue():
            if limit.greenlet is here:
                limit.timer.cancel()  # once is enough
                raise limit.error

    def interrupt(self, id: uuid.UUID, error: BaseException) -> bool:
        """Throw into the greenlet, from the hub."""
        greenlet = self._running.get(id)
        if greenlet is None:
            return False

        def throw() -> None:
            if self._running.get(id) is greenlet:  # it may have gone on to another task since
                greenlet.throw(error)  # type: ignore[union-attr]

        gevent.get_hub().loop.run_callback(throw)
        return True


POOL = GeventPool
