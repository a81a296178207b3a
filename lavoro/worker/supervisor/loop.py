"""The supervisor's main loop: waits for messages of children, signals, calls of other threads, and the clock."""

from __future__ import annotations

import selectors
import signal
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from lavoro.runtime.alarm import Alarm


class Loop:
    """The events of the main thread, which calls all methods; ``post`` and ``order`` are for the others."""

    def __init__(self) -> None:
        self.turned = time.monotonic()
        """When it last turned (monotonic), or began to; for all threads."""
        self._signals: list[int] = []
        self._interruption: BaseException | None = None
        self._interrupting: Collection[int] = ()
        self._posted: deque[Callable[[], object]] = deque()
        self._catches = False
        self._alarm = Alarm()
        self._alarm.open()
        self._selector = selectors.DefaultSelector()
        self.watch(self._alarm, self._alarm.silence)

    def catch(self, numbers: Iterable[int]) -> None:
        """Note these signals for ``caught``, and wake up for the end of a child too; only in the main thread."""
        self._catches = True
        for number in numbers:
            signal.signal(number, self._note)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # for the alarm only
        signal.set_wakeup_fd(self._alarm.writer, warn_on_full_buffer=False)

    def _note(self, number: int, frame: object) -> None:
        self._signals.append(number)
        if self._interruption is not None and number in self._interrupting:
            raise self._interruption

    def order(self, number: int) -> None:
        """Take a signal in as if it had come from the system; for the other threads."""
        self._signals.append(number)
        self._alarm.ring()

    @contextmanager
    def interrupted(self, error: BaseException, *, by: Collection[int]) -> Iterator[None]:
        """Raise an error in the block as soon as one of these signals comes, or at once if one has come."""
        self._interruption, self._interrupting = error, by
        try:
            if any(number in by for number in self._signals):
                raise error
            yield
        finally:
            self._interruption = None

    @property
    def signals(self) -> tuple[int, ...]:
        """The signals that came since ``caught`` was called, which leaves them there."""
        return tuple(self._signals)

    def caught(self) -> list[int]:
        """Return the signals that came since the last time, in their order."""
        caught, self._signals = self._signals, []
        return caught

    def watch(self, descriptor: Any, call: Callable[[], object]) -> None:
        """Call a function whenever a descriptor, or an object with one, can be read or is closed at its other end."""
        self._selector.register(descriptor, selectors.EVENT_READ, call)

    def forget(self, descriptor: Any) -> None:
        """Watch it no longer."""
        self._selector.unregister(descriptor)

    def post(self, call: Callable[[], object]) -> None:
        """Have the main thread call a function; for the other threads."""
        self._posted.append(call)
        self._alarm.ring()

    def wait(self, until: float) -> None:
        """Wait for something to happen, until a moment (monotonic) at the latest, and call the functions for it."""
        ready = self._selector.select(max(0.0, until - time.monotonic()))
        self.turned = time.monotonic()
        for key, _ in ready:
            key.data()
        while self._posted:
            self._posted.popleft()()

    def close(self) -> None:
        """Close the descriptors."""
        if self._catches:
            signal.set_wakeup_fd(-1)
        self._selector.close()
        self._alarm.close()
