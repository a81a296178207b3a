"""Looks after held tasks: ends those that expire, frees those that a limit has room for, and has handlers called."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from lavoro.runtime.service import jitter
from lavoro.store import limits, tasks, unhandled
from lavoro.store.tx import Tx
from lavoro.worker.supervisor.duty import Duty

INTERVAL = 60.0


class HeldTasks(Duty):
    """Every node looks once a minute: no claim meets an expired held task.

    A held task that fails ends without a process. A notification tells the nodes; this finds what they did not hear.
    While the rate of a limit holds tasks, every node looks when the next may start; the first one frees it.
    """

    def __init__(self, handle: Callable[[], object]) -> None:
        super().__init__()
        self._handle = handle
        self._done = time.monotonic() - INTERVAL + jitter(1, 5)
        self._free_at = math.inf

    def limits_hold(self) -> None:
        """Look when a limit has room; called in any thread, when a limit that depends on the time holds a task."""
        self._free_at = -math.inf

    @property
    def due(self) -> float:
        """When a limit may have room for a held task."""
        return self._free_at

    def run(self, tx: Tx) -> None:
        """Do it if a minute has passed, or if a limit may have room."""
        if time.monotonic() - self._done >= INTERVAL:
            self._done = time.monotonic()
            self.attempt(tx, "to end expired held tasks", self._expire)
            self.attempt(tx, "to look for handlers that are due", self._look)
        if time.monotonic() >= self._free_at:
            self._free_at = time.monotonic() + 1  # if it fails
            self.attempt(tx, "to free held tasks of limits", self._free)

    def _expire(self, tx: Tx) -> None:
        if tasks.expire_held(tx).limits_hold:
            self._free_at = min(self._free_at, time.monotonic())

    def _free(self, tx: Tx) -> None:
        began = time.monotonic()
        self._free_at = began + limits.free(tx)

    def _look(self, tx: Tx) -> None:
        if unhandled.are_left(tx):
            self._handle()
