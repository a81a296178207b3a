"""Claiming: one loop that supplies the pool with tasks, and sleeps when there are none."""

from __future__ import annotations

import logging
import math

from psycopg.errors import UniqueViolation

from lavoro.protocol.message import Job
from lavoro.runtime.service import Service
from lavoro.store import offers as stored_offers
from lavoro.store import tasks, workers
from lavoro.store.database import Database
from lavoro.store.deadline import ANSWER
from lavoro.store.errors import OUTAGE
from lavoro.store.mailbox import Mailbox
from lavoro.store.notifications import Back, Due, read
from lavoro.store.session import Session
from lavoro.store.tx import Tx
from lavoro.text.plural import counted
from lavoro.worker.child.capacity import BATCH, Capacity
from lavoro.worker.child.lanes import LaneScanner
from lavoro.worker.child.offers import Offers
from lavoro.worker.child.pace import INTERVAL
from lavoro.worker.child.sleep import WHILE_BUSY, Sleep

logger = logging.getLogger("lavoro.worker")

ADOPTION, SELDOM = 10.0, 120.0
"""Seconds between the first polls for tasks of an abandoned claim; they double up to SELDOM, and never end.

So a claim that commits late is found after at most twice the time that it took, and after SELDOM. Each poll reads all
of ``running``."""
BUSY = 50
"""A claim of so many tasks means that no notification is needed: the claimer comes back by itself."""


class Claimer(Service):
    """Claims as many tasks as the pool has room for, best lane first, and takes in those that calls assign to us."""

    name = "claimer"
    expected = OUTAGE

    def __init__(
        self, database: Database, offers: Offers, *, capacity: Capacity, scanner: LaneScanner, sleep: Sleep
    ) -> None:
        super().__init__()
        self._offers, self._capacity, self._scanner, self._sleep = offers, capacity, scanner, sleep
        self._clock = sleep.clock
        self._session = Session(database, "lavoro-claimer", patience=ANSWER, lost=self._abandoned)
        channel = stored_offers.channel(database.schema, offers.worker_id)
        self._mailbox = Mailbox(self._session, channel)
        self._known: Tx | None = None
        """The connection on which we have scanned for lanes."""
        self._adopt_at, self._adopt_after = math.inf, ADOPTION
        """When to poll for tasks of abandoned claims: never before one was abandoned."""
        self._called, self._next = True, 0.0
        """Whether the next claim is wanted now, and when it is due otherwise."""

    # From other threads

    def wake(self) -> None:
        """Claim now."""
        self._called = True
        super().wake()
        self._mailbox.ring()

    def notified(self, payload: str) -> None:
        """Claim because of a notification; scan all lanes first unless it names one that we know and is due."""
        notification, lanes = read(payload), self._scanner.lanes
        if isinstance(notification, Due):
            self._capacity.pace.notified()
        if isinstance(notification, Back):  # a task that came back may be older than those claimed last
            lanes.forget_bounds()
        if not (isinstance(notification, Due) and (notification.queue, notification.priority) in lanes):
            self._scanner.require()
        self.wake()

    def room_made(self) -> None:
        """Go on if the claimer waits for room; called when tasks have ended."""
        if self._capacity.blocked:
            self.wake()

    def confirm_sleep(self, *, listening: bool) -> None:
        """Take in the supervisor's answer: it listens for us from now on, or cannot."""
        if listening:
            self._sleep.confirm()
        else:
            self._sleep.lost()
        self.wake()

    def serves(self, queue: str) -> bool:
        """Whether a task of a queue may begin here without a claim: nothing waits there, as far as we know."""
        claims = not self.stopping and not self._capacity.restraint.resting
        return claims and self._sleep.listening and self._offers.serves(queue)

    def accept(self, jobs: list[Job]) -> None:
        """Run tasks that are in flight already."""
        self._offers.saw(jobs)
        self._capacity.pool.add(jobs)

    def look_for_lost(self) -> None:
        """Poll for tasks that another connection has begun here by a statement whose answer was lost."""
        self._abandoned()
        self.wake()

    def rest(self, order: int | None) -> None:
        """Claim nothing from now on; None: claim again, from whole lanes first."""
        self._capacity.restraint.rest(order)
        if order is None:
            self._scanner.lanes.forget_bounds()
            self._scanner.require()
        self.wake()

    def serve(self, queues: list[str]) -> None:
        """Claim from these queues from now on."""
        self._scanner.lanes.wanted = queues
        self.wake()

    # The loop

    def step(self) -> float | None:
        """Take in what calls have assigned; claim when it is time; return how long to wait."""
        with self._session:
            self._take_assigned()
            if self._scanner.lanes.wanted is not None:
                self._serve(self._open(), self._scanner.lanes.wanted)
            if self._clock() >= self._adopt_at:
                self._adopt(self._open())
            if self._called or self._clock() >= self._next:
                self._called = False  # before the claim: a wake-up during it must not be missed
                pause = self._claim_if_room()
                self._next = math.inf if pause is None else self._clock() + pause
        over = self._offers.over if self._offers.made else math.inf
        wait = min(self._next, over, self._adopt_at) - self._clock()
        return None if wait == math.inf else max(wait, 0.0)

    def pause(self, seconds: float | None) -> None:
        """Wait so long, or until it is woken, or until a call has assigned a task to us."""
        if not self._mailbox.listening:
            super().pause(seconds)
        elif not self.woken:  # a wake-up before the mailbox was open has rung nothing
            self._mailbox.wait(seconds)

    def close(self) -> None:
        """Withdraw all offers, and take in what calls have assigned until then; close the connection."""
        try:
            if self._offers.made:
                self._capacity.pool.add(self._offers.end(self._open()))
        except OUTAGE as error:  # the supervisor releases them when this process has ended
            logger.warning("offers to take tasks could not be withdrawn: %s", error)
        self._session.close()
        self._mailbox.close()

    # Claiming

    def _claim_if_room(self) -> float | None:
        """Claim if there is room; return how long to wait for more, None until there is room."""
        room = self._capacity.room()
        if room <= 0:
            if self._capacity.restraint.resting:
                self._rest()
            return None
        if pause := self._capacity.wait_for_more(room):
            return pause
        try:
            return self._supply(self._open(), min(room, BATCH))
        except UniqueViolation:
            doubles = counted(tasks.postpone_doubles(self._open()), "task waits", "tasks wait")
            logger.warning("%s for one of the same id to end", doubles)
            self._scanner.require()  # when they are due
            return 0

    def _serve(self, tx: Tx, queues: list[str]) -> None:
        """Withdraw the offers, which may be for other queues, and claim from these."""
        if self._offers.made:
            self._end_offers(tx)
        self._offers.keep(queues)
        workers.serve(tx, self._offers.worker_id, queues)
        self._scanner.lanes.serve(queues)
        self._scanner.require()

    def _rest(self) -> None:
        """Withdraw the offers, and need no notification; then tell the supervisor."""
        self._sleep.end()
        if self._offers.made:
            self._end_offers(self._open())
        if not self._offers.made:  # else a call is slow to commit: when they are over, the next try comes
            self._capacity.restraint.obeyed()

    def _supply(self, tx: Tx, limit: int) -> float:
        """Claim up to so many tasks, and return how long to wait until the next claim."""
        jobs = self._claim(tx, limit)
        if jobs:
            self._sleep.worked()
            self.accept(jobs)
        full_rounds, steady = self._capacity.full_rounds, self._capacity.pace.steady
        if len(jobs) >= BUSY or full_rounds > 3 or steady:
            self._sleep.end()
        if full_rounds:
            return 0
        scanner, sleep = self._scanner, self._sleep
        if scanner.due(len(jobs), covered=sleep.covers(scanner.scanned), many=BUSY) and self._scan(tx):
            return 0
        if len(jobs) < BUSY and not steady:
            sleep.begin()
            self._offer(tx)
        pause = INTERVAL if steady else sleep.pause(scanner.settled)
        return max(min(pause, scanner.next_scan), 0.001)

    def _claim(self, tx: Tx, limit: int) -> list[Job]:
        jobs: list[Job] = []
        began = self._clock()
        if not self._sleep.listening and self._scanner.allowed(at_least=WHILE_BUSY):
            self._scan(tx)
        if lanes := self._scanner.next_claim(self._clock()):
            jobs = self._offers.claim(tx, lanes, limit)
            self._scanner.claimed(jobs)
        self._capacity.claimed(len(jobs), limit=limit, began=began)
        return jobs

    def _scan(self, tx: Tx) -> bool:
        """Scan for lanes; return whether to claim again at once."""
        return self._scanner.end(tasks.discover_lanes(tx, self._scanner.begin()))

    # Tasks that calls assign

    def _take_assigned(self) -> None:
        """Run the tasks that calls have assigned to us; when offers are over, also those without a notification."""
        for payload in self._mailbox.collect():
            self._offers.tell(payload)
        if self._offers.told:
            self.accept(self._offers.take(self._open()))
            self._capacity.pool.begin()
            self._offer(self._open())
        if self._offers.made and (not self._mailbox.listening or self._clock() >= self._offers.over):
            self._end_offers(self._open())
            self._called = self._called or self._capacity.blocked  # there is room again

    def _offer(self, tx: Tx) -> None:
        """Let calls assign tasks while we are told of them."""
        if self._sleep.listening and not self.stopping and self._mailbox.open(tx):
            self._offers.renew(tx, free=self._capacity.free)

    def _end_offers(self, tx: Tx) -> None:
        """Run what calls have assigned until now, and listen no longer once all offers are withdrawn."""
        self.accept(self._offers.end(tx))
        if not self._offers.made:
            self._mailbox.leave(tx)

    # The connection

    def _open(self) -> Tx:
        tx = self._session.open()
        if tx is not self._known:
            self._scanner.lanes.forget_bounds()
            self._scanner.require()  # the answer of a scan may have been lost too
            self._known = tx
        return tx

    def _abandoned(self) -> None:
        """Poll for tasks of the abandoned claim, and claim again."""
        self._called, self._adopt_at, self._adopt_after = True, -math.inf, ADOPTION

    def _adopt(self, tx: Tx) -> None:
        """Run the tasks of a claim whose answer was lost with its connection, and set the time of the next poll.

        A claim may commit late, so polls go on. Also while all slots are busy: a task that finds no slot is released.
        """
        jobs = self._offers.found(tx)
        self._adopt_at, self._adopt_after = self._clock() + self._adopt_after, min(2 * self._adopt_after, SELDOM)
        if jobs:
            what = counted(len(jobs), "task was", "tasks were")
            logger.warning("%s claimed by a statement whose answer was lost: running now", what)
            self._capacity.pool.add(jobs)
