"""Counts the tasks that have ended, minute by minute: one node does it for all."""

from __future__ import annotations

import math
import time

from lavoro.runtime.service import jitter
from lavoro.store import history
from lavoro.store.tx import Tx
from lavoro.worker.supervisor.duty import Duty

OTHERS_INTERVAL = 240.0
"""Seconds between two looks of a node while another one counts."""
LATE = 2.0
"""Seconds after the end of a minute at which it is counted: most outcomes that came in it are committed then."""
LONG, QUICK = 0.5, 0.1
"""Seconds of a statement after which it counts one minute again, and below which the next one counts twice as many."""
MOST = 240
"""Most minutes of one statement, while it catches up."""


class History(Duty):
    """The node that finds a minute uncounted counts it, and each one after it; the others look only now and then.

    There is no lease, because the lock of one row is enough: a count sets numbers and adds to none, so a count that is
    repeated, or killed, changes nothing. A node that died is replaced at the next look of another.
    """

    def __init__(self) -> None:
        super().__init__()
        self._due = time.monotonic() + jitter(5, 15)
        self._counts = False
        """Whether this node is the one that counts."""
        self._minutes = 1

    @property
    def due(self) -> float:
        """When the next minute is to be counted; a node that does not count needs no round of its own."""
        return self._due if self._counts else math.inf

    def run(self, tx: Tx) -> None:
        """Count what is over, one statement in a round: leases are renewed in between."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + jitter(0.5, 1) * OTHERS_INTERVAL
            self.attempt(tx, "to count the tasks that have ended", self._count)

    def _count(self, tx: Tx) -> None:
        self._counts = False
        began = time.monotonic()
        counted = history.count(tx, minutes=self._minutes)
        if counted is None or counted.begins is None:
            return
        now = time.monotonic()
        self._counts = True
        if now - began > LONG:
            self._minutes = 1
        elif now - began < QUICK and counted.more:
            self._minutes = min(2 * self._minutes, MOST)
        if not counted.more:
            self._minutes = 1
        self._due = now if counted.more else now + counted.wait + LATE
