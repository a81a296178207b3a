"""Claiming: one loop that keeps the pool supplied, and asks to be woken when there is nothing to do."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Iterable

from lavoro.message import Job
from lavoro.service import Service
from lavoro.store import tasks
from lavoro.store.database import LOST, Database, Tx
from lavoro.store.tasks import Lane
from lavoro.worker.holding import Holding
from lavoro.worker.pools.base import Pool

logger = logging.getLogger("lavoro.worker")

BATCH = 500
"""Most tasks of one claim: beyond it a batch gets no cheaper per task."""
LAG = dt.timedelta(seconds=0.02)
"""How far the lower bound of a lane trails its last claim: transactions that commit this late are still seen."""
EVERYTHING = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
LOOK_AROUND = 0.05
"""Seconds between looks for new lanes while busy: what a more urgent task waits at the most for being seen."""
DUTY = 50
"""A look that took t seconds is repeated after DUTY * t at the earliest: it costs 2 % of the time at the most."""
QUICK = (0.005, 0.02, 0.1)
"""Seconds between the first looks after the work ran out: a task whose sender saw nobody asleep is met by one."""
BUSY = 50
"""A claim of so many tasks means that nobody needs to notify us: we come back by ourselves."""


class Claimer(Service):
    """Claims what the pool has room for, best lane first.

    Each lane (queue and priority) has a lower bound that trails the last claim, so that the dead index entries of
    what was claimed before are not read again: under a held snapshot they cannot be cleaned up. The bound is a hint:
    looks below it, further back the rarer, catch what committed late or was given back.
    """

    name = "claimer"

    def __init__(
        self,
        database: Database,
        pool: Pool,
        holding: Holding,
        *,
        worker_id: int,
        queues: Iterable[str],
        prefetch: int,
        poll_interval: float,
        rest: Callable[[bool], object],
    ) -> None:
        super().__init__()
        self._database, self._pool, self._holding = database, pool, holding
        self._worker_id, self._queues = worker_id, list(queues)
        self._prefetch, self._poll_interval, self._rest = prefetch, poll_interval, rest
        self._tx: Tx | None = None
        self._bounds: dict[tuple[str, int], dt.datetime] = {}
        self._lanes: list[tuple[str, int]] = []
        self._next_due = 0.0
        self._looked = self._look_cost = 0.0
        self._swept = self._sweep_cost = self._swept_back = 0.0
        self._idle_looks = 0
        self.resting = False
        """Whether the supervisor has confirmed that it listens for us."""
        self._asked_to_rest = False
        self._rate = 0.0
        self._counted = (time.monotonic(), 0)

    # From other threads

    def came_back(self) -> None:
        """Something older than the last claim may be waiting: look below the bounds."""
        self._bounds.clear()
        self.wake()

    def confirm_rest(self) -> None:
        """The supervisor listens from now on; what was sent before is found by one more look."""
        if self._asked_to_rest:
            self.resting, self._idle_looks = True, 1
        self.wake()

    # The loop

    def step(self) -> float | None:
        """Claim if there is room; return how long to wait for more."""
        room = self._room()
        if room <= 0 or (room < self._pool.waiting and room < BATCH):
            return None  # many small claims would cost more than a few large ones
        try:
            jobs = self._claim(self._open(), min(room, BATCH))
        except LOST:
            self._lose()
            raise
        if jobs:
            return self._supply(jobs, room)
        return self._look_for_work(self._open())

    def close(self) -> None:
        """Close the connection."""
        self._lose()

    def _supply(self, jobs: list[Job], room: int) -> float | None:
        self._idle_looks = 0
        self._pool.add(jobs)
        if len(jobs) >= BUSY and self._asked_to_rest:
            self._set_rest(False)
        if len(jobs) >= min(room, BATCH):
            return 0
        return self._poll_interval if self.resting else QUICK[0]

    def _look_for_work(self, tx: Tx) -> float | None:
        """Nothing was claimed: look for lanes that are new or have something below their bound."""
        known = set(self._lanes)
        self._look_around(tx)
        if self._next_due <= 0 and (set(self._lanes) - known or self._may_sweep()):
            self._bounds.clear()
            return 0
        if not self._asked_to_rest and self._idle_looks >= 1:
            self._set_rest(True)
        return min(self._pause(), max(self._next_due, 0.001) if self._lanes else self._poll_interval)

    def _pause(self) -> float:
        looks, self._idle_looks = self._idle_looks, self._idle_looks + 1
        return QUICK[looks] if looks < len(QUICK) else self._poll_interval

    def _set_rest(self, resting: bool) -> None:
        self._asked_to_rest, self.resting = resting, False
        self._rest(resting)

    # Claiming

    def _claim(self, tx: Tx, limit: int) -> list[Job]:
        now = time.monotonic()
        if now - self._looked > max(LOOK_AROUND, DUTY * self._look_cost) and not self.resting:
            self._look_around(tx)
        if not self._lanes:
            return []
        jobs = tasks.claim(tx, self._worker_id, lanes=self._lanes_with_bounds(now), limit=limit)
        self._holding.add(jobs)
        for job in reversed(jobs):
            self._bounds[job.queue, job.priority] = job.due - LAG
        self._sweep_cost = max(self._sweep_cost, time.monotonic() - now) if self._swept == now else self._sweep_cost
        return jobs

    def _lanes_with_bounds(self, now: float) -> list[Lane]:
        back = dt.timedelta(0)
        if self._may_sweep():
            self._swept = self._swept_back = now
            self._sweep_cost = 0.0
            return [Lane(*lane, EVERYTHING) for lane in self._lanes]
        if now - self._swept_back > 1:
            self._swept_back, back = now, dt.timedelta(seconds=1)
        return [Lane(*lane, self._bounds.get(lane, EVERYTHING + back) - back) for lane in self._lanes]

    def _may_sweep(self) -> bool:
        return time.monotonic() - self._swept > max(2.0, DUTY * self._sweep_cost)

    def _look_around(self, tx: Tx) -> None:
        self._looked = time.monotonic()
        found = tasks.discover_lanes(tx, self._queues)
        self._look_cost = time.monotonic() - self._looked
        self._lanes = [(queue, priority) for queue, priority, _ in found]
        self._next_due = min((due_in for _, _, due_in in found), default=self._poll_interval)

    # Room

    def _room(self) -> int:
        """Free slots, and what is likely to be done in a tenth of a second."""
        self._measure()
        if self._holding.count - self._pool.outstanding > 2 * BATCH:
            return 0  # storing outcomes falls behind
        ahead = min(self._prefetch, int(self._rate * 0.1))
        return self._pool.slots + ahead - self._pool.outstanding

    def _measure(self) -> None:
        now, done = time.monotonic(), self._holding.released
        elapsed = now - self._counted[0]
        if elapsed >= 0.01:
            rate = (done - self._counted[1]) / elapsed
            self._rate = rate if rate > self._rate else 0.8 * self._rate + 0.2 * rate
            self._counted = (now, done)

    # The connection

    def _open(self) -> Tx:
        if self._tx is None:
            self._tx = self._database.open("lavoro-claimer")
            self._adopt(self._tx)
        return self._tx

    def _adopt(self, tx: Tx) -> None:
        """Take over what a claim gave us whose answer was lost with the connection."""
        self._bounds.clear()
        jobs = tasks.adopt(tx, self._worker_id, known=self._holding.ids())
        if jobs:
            logger.warning("%d tasks were claimed by a statement whose answer was lost; running them", len(jobs))
            self._holding.add(jobs)
            self._pool.add(jobs)

    def _lose(self) -> None:
        if self._tx is not None:
            self._tx.connection.close()
            self._tx = None
