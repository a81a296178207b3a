"""The number of tasks that a child may claim now, and when a claim is worth its cost."""

from __future__ import annotations

import time
from collections.abc import Callable

from lavoro.worker.child.in_flight import InFlight
from lavoro.worker.child.offers import Offers
from lavoro.worker.child.pace import Pace
from lavoro.worker.child.pools.base import Pool
from lavoro.worker.child.restraint import Restraint

BATCH = 500
"""Most tasks of one claim: beyond it a batch gets no cheaper per task."""
PATIENT, SOON, LATE = 3, 0.01, 0.1
"""A full child waits PATIENT times the last claim's duration before it claims again, between SOON and LATE seconds.

A more urgent task may have to wait for that. On a busy database a third fewer claims and finishes: a tenth faster."""
FEW = 50
"""A claim of fewer tasks may wait for outcomes that are just being stored. Small canvases that come one after the
other then take one claim each for all processes, not one for each process."""
AHEAD = 0.1
"""Seconds for which tasks are claimed ahead, and over which their rate is measured. Over a shorter time, one task
that has just ended looks like hundreds a second, and the claimer claims too many."""
SURE = 0.01
"""Seconds after which the rate is known if each slot has ended two tasks meanwhile, so these are short.

Without it, a process that begins at a full queue claims little until the rate is known."""


class Capacity:
    """Counts the free slots of a pool, and how many more tasks will probably end soon."""

    def __init__(
        self, pool: Pool, in_flight: InFlight, offers: Offers, *, prefetch: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.pool = pool
        self.restraint = Restraint(in_flight)
        self.pace = Pace(in_flight, clock)
        self._in_flight, self._offers, self._prefetch, self._clock = in_flight, offers, prefetch, clock
        self.blocked = False
        """Whether the claimer waits for room: a task that ends makes it go on."""
        self.full_rounds = 0
        """The number of claims since the last one that brought less than its limit."""
        self._last = 0.0, 0.0, 0
        """When the last claim began, its duration, and how many tasks it brought."""
        self._rate = 0.0
        self._counted = (clock(), 0)

    @property
    def free(self) -> int:
        """The number of slots for which there is no task."""
        return self.pool.slots - self.pool.outstanding

    @property
    def _stores(self) -> int:
        """The number of tasks that have ended, and whose outcome is not stored yet."""
        return self._in_flight.count - self.pool.outstanding

    def room(self) -> int:
        """Return the free slots, plus the tasks that will probably end within ``AHEAD``; set ``blocked``.

        The restraint may leave less of it.
        """
        self.blocked = True  # before the room is counted: a task that ends during that must wake the claimer
        self._measure()
        if self._stores > 2 * BATCH:
            return 0  # storing outcomes falls behind
        ahead = min(self._prefetch, int(self._rate * AHEAD))
        return self.restraint.room(self.free + ahead - self._offers.open, waiting=self.pool.waiting)

    def wait_for_more(self, room: int) -> float:
        """Return how many seconds to wait for more room; 0 to claim now, which resets ``blocked``.

        Many small claims would cost more than a few large ones: after one of few tasks, which left none waiting, the
        next one comes once outcomes are stored, but at most SOON after it.
        """
        began, cost, count = self._last
        pause = began + min(max(SOON, PATIENT * cost), LATE) - self._clock()
        if pause > 0 and room < min(self.pool.waiting, BATCH):
            return pause
        if began + SOON > self._clock() and count < FEW and not self.full_rounds and self._stores:
            return SOON
        self.blocked = False
        return 0.0

    def claimed(self, count: int, *, limit: int, began: float) -> None:
        """Note a claim, which began at ``began``: its cost, and whether it brought as many tasks as its limit."""
        self._last = began, self._clock() - began, count
        self.full_rounds = self.full_rounds + 1 if count == limit else 0
        self.pace.claimed(count)

    def prefetch_less(self) -> None:
        """Claim nothing ahead until tasks are short again."""
        self._rate = 0.0

    def _measure(self) -> None:
        now, done = self._clock(), self._in_flight.released
        elapsed, ended = now - self._counted[0], done - self._counted[1]
        if elapsed >= (SURE if ended >= 2 * self.pool.slots else AHEAD):
            rate = ended / elapsed
            self._rate = rate if rate > self._rate else 0.8 * self._rate + 0.2 * rate
            self._counted = (now, done)
