"""Ends held tasks that have expired, and finds tasks whose handlers no process has called yet."""

from __future__ import annotations

import time
from collections.abc import Callable

from lavoro.runtime.service import jitter
from lavoro.store import tasks, unhandled
from lavoro.store.tx import Tx
from lavoro.worker.supervisor.duty import Duty

INTERVAL = 60.0


class HeldTasks(Duty):
    """Every node does it once a minute: no claim meets an expired held task.

    A held task that fails ends without a process. A notification tells the nodes; this finds what they did not hear.
    """

    def __init__(self, handle: Callable[[], object]) -> None:
        super().__init__()
        self._handle = handle
        self._done = time.monotonic() - INTERVAL + jitter(1, 5)

    def run(self, tx: Tx) -> None:
        """Do it if a minute has passed."""
        if time.monotonic() - self._done >= INTERVAL:
            self._done = time.monotonic()
            self.attempt(tx, "to end expired held tasks", tasks.expire_held)
            self.attempt(tx, "to look for handlers that are due", self._look)

    def _look(self, tx: Tx) -> None:
        if unhandled.are_left(tx):
            self._handle()
