"""Claiming: one loop that keeps the pool supplied, and asks to be woken when there is nothing to do."""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Callable, Iterable

from psycopg.errors import UniqueViolation

from lavoro.protocol.message import Job
from lavoro.runtime.service import Service
from lavoro.store import tasks
from lavoro.store.database import LOST, OUTAGE, Database, Tx
from lavoro.store.deadline import ANSWER
from lavoro.store.session import Session
from lavoro.store.tasks import Lane
from lavoro.text.plural import counted
from lavoro.worker.child.in_flight import InFlight
from lavoro.worker.child.lanes import Lanes, may, rest_after
from lavoro.worker.child.offers import Offers
from lavoro.worker.child.pools.base import Pool

logger = logging.getLogger("lavoro.worker")

BATCH = 500
"""Most tasks of one claim: beyond it a batch gets no cheaper per task."""
PATIENT, SOON, LATE = 3, 0.01, 0.1
"""A full child waits for more room: for as long as so many claims take, at least SOON and at most LATE seconds.

A more urgent task may have to wait for that. On a busy database a third fewer claims and finishes: a tenth faster."""
LOOK_AROUND = 0.05
"""Seconds between looks for new lanes while busy: a queue or priority that had no tasks lately is seen this late."""
AHEAD = 0.1
"""Seconds for which tasks are claimed ahead, and over which their rate is measured. Over a shorter time, one task
that has just ended looks like hundreds a second, and the claimer claims too many."""
QUICK = (0.005, 0.02, 0.1)
"""Seconds between the first looks after the work ran out: a task whose sender saw nobody asleep is met by one."""
RESTING = 120
"""How many times longer the poll interval is while the supervisor listens: 500 idle nodes cost a database little."""
EARLY = 0.005
"""Seconds by which a timer may end early: what it waited for may have become due only after the claim."""
ADOPTION, SELDOM = 10.0, 120.0
"""Seconds between the first looks for tasks of an abandoned claim; they double up to SELDOM, for good.

So a claim that commits late is found after at most twice the time that it took, and after SELDOM. Each look reads all
of ``running``."""
BUSY = 50
"""A claim of so many tasks means that nobody needs to notify us: we come back by ourselves."""


class Claimer(Service):
    """Claims what the pool has room for, best lane first, and takes in what calls hand over meanwhile."""

    name = "claimer"
    expected = OUTAGE

    def __init__(
        self,
        database: Database,
        pool: Pool,
        holding: InFlight,
        *,
        worker_id: int,
        queues: Iterable[str],
        prefetch: int,
        poll_interval: float,
        rest: Callable[[bool], object],
        offers: Offers,
    ) -> None:
        super().__init__()
        self._pool, self._holding, self._offers = pool, holding, offers
        self._worker_id, self._queues = worker_id, list(queues)
        self._prefetch, self._poll_interval, self._tell_rest = prefetch, poll_interval, rest
        self._session = Session(database, "lavoro-claimer", patience=ANSWER)
        self._known: Tx | None = None
        """The connection on which we have looked for lanes."""
        self._adopt_at, self._adopt_after = math.inf, ADOPTION
        """When to look for tasks of abandoned claims: never before one was abandoned."""
        self._called, self._next = True, 0.0
        """Whether somebody wants the next claim now, and when it is due otherwise."""
        self._lanes = Lanes(self._queues)
        self._claimed = self._claim_cost = 0.0
        self._looked = self._look_cost = 0.0
        self._look_costs = (0.0, 0.0)
        self._must_look = True
        self._due_at: float | None = None
        self._more_behind = False
        """Whether the last look met tasks that were due, which hide when the next one is."""
        self._idle_rounds = self._full_rounds = 0
        self._asked_to_rest = self._resting = self._blocked = False
        self._heard_since = 0.0
        """When the supervisor began to listen for us."""
        self._missed_some = False
        """Whether a task may have been handed over without our being told."""
        self._rate = 0.0
        self._counted = (time.monotonic(), 0)

    # From other threads

    def wake(self) -> None:
        """Have the next claim made now."""
        self._called = True
        super().wake()

    def hand(self, id: uuid.UUID) -> None:
        """Take in that a call has claimed a task for us: it is read, and nothing need be claimed."""
        self._offers.tell(id)
        super().wake()

    def notified(self, payload: str) -> None:
        """Take in a notification: ``+priority:queue`` has a task, ``~`` one for later, ``!queue`` got tasks back.

        Of a lane that we know, ``+`` needs a claim and no look.
        """
        kind, (priority, _, queue) = payload[0], payload[1:].partition(":")
        if kind == "!":  # what came back may be older than what was claimed last
            self._lanes.forget_bounds()
        if kind != "+" or (queue, int(priority)) not in self._lanes:
            self._must_look = True
        self.wake()

    def room_made(self) -> None:
        """Tasks have ended; go on if that was what we waited for."""
        if self._blocked:
            self.wake()

    def slow_down(self) -> None:
        """Claim nothing ahead until tasks are short again."""
        self._rate = 0.0

    def confirm_rest(self, *, listening: bool = True) -> None:
        """The supervisor listens for us from now on, or cannot; nobody was told of what was stored just before."""
        self._heard_since = time.monotonic()
        self._resting, self._idle_rounds = listening and self._asked_to_rest, 0
        self._missed_some = True
        self.wake()

    # The loop

    def step(self) -> float | None:
        """Take what was handed over; claim when it is time; return how long to wait."""
        try:
            self._take_handed()
            if time.monotonic() >= self._adopt_at:
                self._adopt(self._open())
            if self._called or time.monotonic() >= self._next:
                self._called = False  # before: who calls meanwhile must not be overheard
                pause = self._claim_if_room()
                self._next = math.inf if pause is None else time.monotonic() + pause
        except LOST:
            self._session.lose()
            self._called, self._adopt_at, self._adopt_after = True, -math.inf, ADOPTION
            raise
        over = self._offers.over if self._offers.made else math.inf
        wait = min(self._next, over, self._adopt_at) - time.monotonic()
        return None if wait == math.inf else max(wait, 0.0)

    def _claim_if_room(self) -> float | None:
        """Claim if there is room; return how long to wait for more, None until there is room."""
        self._blocked = True  # before the room is counted: what ends during that must wake us
        room = self._room()
        if room <= 0:
            return None
        patience = self._claimed + min(max(SOON, PATIENT * self._claim_cost), LATE) - time.monotonic()
        if patience > 0 and room < min(self._pool.waiting, BATCH):
            return patience  # many small claims would cost more than a few large ones
        self._blocked = False
        try:
            return self._supply(self._open(), min(room, BATCH))
        except UniqueViolation:
            doubles = counted(tasks.postpone_doubles(self._open()), "task waits", "tasks wait")
            logger.warning("%s for one of the same id to end", doubles)
            self._must_look = True  # when they are due
            return 0

    def close(self) -> None:
        """Take back all offers, and what calls have handed over until then; close the connection."""
        try:
            if self._offers.made:
                self._pool.add(self._offers.end(self._open()))
        except OUTAGE as error:  # the supervisor gives them back when this process has ended
            logger.warning("offers to take tasks could not be withdrawn: %s", error)
        self._session.close()

    # What is handed over

    def _take_handed(self) -> None:
        """Run what calls have claimed for us, and when offers are over, what they had not told us of."""
        missed_some, self._missed_some = self._missed_some, False
        if self._offers.told:
            self._accept(self._offers.take(self._open()))
            self._offer(self._open())
        if self._offers.made and (missed_some or time.monotonic() >= self._offers.over):
            self._accept(self._offers.end(self._open()))
            self._called = self._called or self._blocked  # there is room again

    def _accept(self, jobs: list[Job]) -> None:
        self._offers.saw(jobs)
        self._pool.add(jobs)

    def _offer(self, tx: Tx) -> None:
        """Let calls hand over tasks while we are told of them."""
        if self._resting and not self.stopping:
            self._offers.renew(tx, free=self._pool.slots - self._pool.outstanding)

    def _supply(self, tx: Tx, limit: int) -> float | None:
        jobs = self._claim(tx, limit)
        if jobs:
            self._idle_rounds = 0
            self._accept(jobs)
        self._full_rounds = self._full_rounds + 1 if len(jobs) == limit else 0
        if len(jobs) >= BUSY or self._full_rounds > 3:
            self._rest(False)
        if self._full_rounds:
            return 0
        if self._curious(jobs) and may(self._looked, self._look_cost) and self._look_around(tx):
            return 0
        if len(jobs) < BUSY:
            self._rest(True)
            self._offer(tx)
        return self._pause()

    def _curious(self, jobs: list[Job]) -> bool:
        """Whether to look for new lanes, for what is below the bounds, and for when the next task is due."""
        enough = self._poll_interval / 2 if self._looked >= self._all_announced else LOOK_AROUND
        known = self._resting and time.monotonic() - self._looked < enough
        hiding = self._more_behind and len(jobs) < BUSY
        return (not jobs and not known) or self._must_look or self._due_at is not None or hiding

    @property
    def _all_announced(self) -> float:
        """From when on nothing is stored of which we are not told: who saw nobody asleep has committed by then."""
        return self._heard_since + self._poll_interval

    def _pause(self) -> float:
        nth, self._idle_rounds = self._idle_rounds, self._idle_rounds + 1
        # Long only after a look that left nothing open, and missed nothing: not after a claim alone.
        sure = self._resting and not self._more_behind and self._looked >= max(self._claimed, self._all_announced)
        pause = QUICK[nth] if nth < len(QUICK) else self._poll_interval * (RESTING if sure else 1)
        now = time.monotonic()
        due_in = math.inf if self._due_at is None else self._due_at - now
        if due_in > 0:
            pause = min(pause, due_in)
        if due_in <= 0 or self._must_look:
            pause = min(pause, self._looked + rest_after(self._look_cost) - now)
        return max(pause, 0.001)

    def _rest(self, resting: bool) -> None:
        if resting != self._asked_to_rest:
            self._asked_to_rest, self._resting = resting, False
            self._tell_rest(resting)

    # Claiming

    def _claim(self, tx: Tx, limit: int) -> list[Job]:
        self._claimed = now = time.monotonic()
        if not self._resting and may(self._looked, self._look_cost, at_least=LOOK_AROUND):
            self._look_around(tx)
        if not self._lanes:
            return []
        jobs = self._lanes.claim(lambda lanes: self._take(tx, lanes, limit))
        self._claim_cost = time.monotonic() - now
        return jobs

    def _take(self, tx: Tx, lanes: list[Lane], limit: int) -> list[Job]:
        with self._offers.alone():
            jobs = tasks.claim(tx, self._worker_id, lanes=lanes, limit=limit)
            self._holding.add(jobs)
        return jobs

    def _look_around(self, tx: Tx) -> bool:
        """List the lanes; tell whether to claim again at once: something is due by now, or the bounds may hide it."""
        self._must_look, self._looked = False, time.monotonic()
        expected = self._due_at is not None and self._due_at - EARLY < self._looked
        found = tasks.discover_lanes(tx, self._queues)
        now = time.monotonic()
        self._look_costs = (self._look_costs[1], now - self._looked)
        self._look_cost = min(self._look_costs)  # one slow answer of a busy machine is no dear look
        new = self._lanes.remember((queue, priority) for queue, priority, _ in found)
        later = [due_in for _, _, due_in in found if due_in > 0]
        self._due_at = now + min(later) if later else None
        self._more_behind = len(later) < len(found)
        hidden = self._more_behind and (new or self._lanes.sweep_due)
        if hidden:
            self._lanes.forget_bounds()
        return hidden or (expected and self._more_behind)

    # Room

    def _room(self) -> int:
        """Return the free slots, plus the tasks that will probably end within ``AHEAD``."""
        self._measure()
        if self._holding.count - self._pool.outstanding > 2 * BATCH:
            return 0  # storing outcomes falls behind
        ahead = min(self._prefetch, int(self._rate * AHEAD))
        return self._pool.slots + ahead - self._pool.outstanding - self._offers.open

    def _measure(self) -> None:
        now, done = time.monotonic(), self._holding.released
        elapsed = now - self._counted[0]
        if elapsed >= AHEAD:
            rate = (done - self._counted[1]) / elapsed
            self._rate = rate if rate > self._rate else 0.8 * self._rate + 0.2 * rate
            self._counted = (now, done)

    # The connection

    def _open(self) -> Tx:
        tx = self._session.open()
        if tx is not self._known:
            self._lanes.forget_bounds()
            self._must_look = True  # the answer of a look may have been lost too
            self._known = tx
        return tx

    def _adopt(self, tx: Tx) -> None:
        """Run the tasks of a claim whose answer was lost with its connection, and plan the next look: it may be late.

        Also while all slots are busy: what finds no slot is given back.
        """
        jobs = self._offers.found(tx)
        self._adopt_at, self._adopt_after = time.monotonic() + self._adopt_after, min(2 * self._adopt_after, SELDOM)
        if jobs:
            what = counted(len(jobs), "task was", "tasks were")
            logger.warning("%s claimed by a statement whose answer was lost: running now", what)
            self._pool.add(jobs)
