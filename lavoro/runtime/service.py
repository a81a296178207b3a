"""A background thread (a greenlet where gevent has patched) that repeats ``step()``; it can be woken and stopped."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from random import SystemRandom

from lavoro.exceptions import LavoroError
from lavoro.runtime import forking

logger = logging.getLogger("lavoro.worker")

jitter = SystemRandom().uniform
"""Random seconds between two; the state of the module ``random`` belongs to the application."""


class Service:
    """A loop with a lifecycle; subclasses write ``step``.

    ``step`` does one round and returns how many seconds to wait for the next, 0 for at once, None for "until woken".
    An exception that it raises is logged, and the next round waits longer each time, up to ``max_backoff``.
    """

    name = "service"
    max_backoff = 3.0
    expected: tuple[type[Exception], ...] = (LavoroError,)
    """Expected errors: they are logged once, without traceback."""

    within: Callable[..., object] = staticmethod(lambda loop: loop())
    """Calls the loop in its thread: in a context, where receivers of signals are called from it."""

    def __init__(self) -> None:
        self._wakeup = threading.Event()
        self._thread: threading.Thread | None = None
        self.failures = 0
        """The number of steps that failed since the last one that succeeded."""
        self._depth = forking.depth
        self.due = time.monotonic()
        """The time at which the current step began, or the next one begins."""
        self.stopping = False

    def step(self) -> float | None:
        """Do one round; return the seconds until the next."""
        raise NotImplementedError

    def close(self) -> None:
        """Release what the loop holds; the loop calls it once, after its last step."""

    def start(self) -> None:
        """Start the loop."""
        self._thread = threading.Thread(target=self.within, args=(self._run,), name=f"lavoro-{self.name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Make the next step come now; a wake-up during a step leads to another step."""
        self._wakeup.set()

    @property
    def woken(self) -> bool:
        """Whether it was woken since the current step began."""
        return self._wakeup.is_set()

    def pause(self, seconds: float | None) -> None:
        """Wait so long, or until it is woken."""
        self._wakeup.wait(seconds)

    def stop(self, timeout: float | None = None) -> None:
        """Ask the loop to end, and wait up to ``timeout`` seconds for it."""
        self.stopping = True
        self.wake()
        self.join(timeout)

    def join(self, timeout: float | None = None) -> None:
        """Wait up to ``timeout`` seconds for the loop's end."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    @property
    def alive(self) -> bool:
        """Whether the loop is running."""
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        self._depth = forking.depth
        while not self.stopping:
            self._wakeup.clear()  # before the step: a wake-up during the step must not be lost
            self.due = time.monotonic()
            delay = self.try_step()
            self.due = time.monotonic() + (math.inf if delay is None else delay)
            if delay != 0 and not self.stopping:
                self.pause(delay)
        self.close()

    def try_step(self) -> float | None:
        """Take a step; after an error, which is logged, return the seconds until the next try."""
        try:
            delay = self._step_alone()
        except Exception as error:
            self.failures += 1
            self.failed(error)
            # Not more than 16: 2 ** 1024, after an hour without a database, would be no float any more.
            return min(self.max_backoff, 0.1 * float(2 ** min(self.failures, 16))) * jitter(0.5, 1)
        if self.failures:
            self.failures = 0
            self.recovered()
        return delay

    def _step_alone(self) -> float | None:
        """Run one step; a process that user code forks in it ends with it, so that the service runs only once."""
        try:
            delay = self.step()
        except BaseException as error:
            if forking.depth != self._depth:
                forking.leave_fork(error)
            raise
        if forking.depth != self._depth:
            forking.leave_fork()
        return delay

    def failed(self, error: Exception) -> None:
        """Log an error of ``step``; the loop continues. An expected error is logged once until a step succeeds."""
        expected = isinstance(error, self.expected)
        if self.failures == 1 or not expected:
            text = (str(error).strip().splitlines() or [type(error).__name__])[0]
            logger.error("%s failed, trying again: %s", self.name, text, exc_info=not expected and self.failures == 1)

    def recovered(self) -> None:
        """Log that ``step`` works again."""
        logger.warning("%s recovered", self.name)
