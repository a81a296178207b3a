"""A sleeping child offers free slots: a call assigns its task in its own commit, which spares that of a claim."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from lavoro.protocol.message import Job
from lavoro.protocol.outcome import released
from lavoro.runtime.native import unpatched
from lavoro.store import offers, stamps, tasks
from lavoro.store.tasks import Lane
from lavoro.store.tx import Tx
from lavoro.worker.child.gathering import read_ahead
from lavoro.worker.child.in_flight import InFlight

MOST = 8
"""Most offers of a child at a time: calls that come together find one each. Renewed when half of them are taken."""
SHARE = 4
"""A child offers one slot of so many that are free: the others are for tasks that it claims itself."""
OPEN = 5.0
"""Seconds for which an offer is open. A task assigned to a node that is just cut off waits for its lease to expire."""

TIMEOUT, AGAIN = 0.5, 1.0
"""Seconds to wait for a call that takes an offer, and until the next try: claims have to go on."""


class Offers:
    """The open offers of this child, and the tasks that calls have assigned to it.

    A call that takes an offer sends the task's id as a notification, a hint like any other: the task is a row of
    ``running``, which is read at the end of each time in which there may have been offers. One thread at a time takes
    tasks in: the claimer and ``release_all`` must not take the same one.
    """

    def __init__(
        self, in_flight: InFlight, *, worker_id: int, slots: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._in_flight, self.worker_id, self._clock = in_flight, worker_id, clock
        self._most = most_of(slots)
        self._told: deque[uuid.UUID] = deque()
        self._made, self._left, self._until = False, 0, 0.0
        self._recent: dict[str, float] = {}
        """The queues that have had a task lately, and when."""
        self._taking = unpatched("_thread", "allocate_lock")()

    def tell(self, payload: str) -> None:
        """Take in that a task was assigned, by a notification: any user may send one."""
        with suppress(ValueError):
            self._told.append(uuid.UUID(payload))

    @property
    def told(self) -> bool:
        """Whether a task was assigned that has not been taken in yet."""
        return bool(self._told)

    @property
    def made(self) -> bool:
        """Whether there may have been offers since the last ``end``."""
        return self._made

    @property
    def open(self) -> int:
        """The number of open offers, as far as we know which ones calls have taken."""
        return self._left if self._clock() < self._until else 0

    def serves(self, queue: str) -> bool:
        """Whether offers are open for a queue: nothing waits there, as far as we know."""
        return self.open > 0 and queue in self._recent

    @property
    def over(self) -> float:
        """When (monotonic) the last offer expires."""
        return self._until

    # Offering

    def saw(self, jobs: Iterable[Job]) -> None:
        """Note the queues of these tasks: they are worth an offer."""
        now = self._clock()
        self._recent.update((job.queue, now) for job in jobs)

    def resize(self, slots: int) -> None:
        """Offer as so many slots allow; if that is less, the open offers are over, and withdrawn at the next look."""
        fewer, self._most = most_of(slots) < self._most, most_of(slots)
        if fewer:
            self._until = min(self._until, self._clock())

    def keep(self, queues: Sequence[str]) -> None:
        """Offer nothing for queues other than these."""
        self._recent = {queue: seen for queue, seen in list(self._recent.items()) if queue in queues}

    def renew(self, tx: Tx, *, free: int) -> None:
        """Offer some of the free slots for the queues that had tasks lately, if few offers are left."""
        now, most = self._clock(), min(self._most, free // SHARE)
        if self.open * 2 > most or most == 0 or (self._made and now >= self._until):
            return
        self._recent = {queue: seen for queue, seen in list(self._recent.items()) if now - seen < OPEN}
        queues = sorted(self._recent, key=self._recent.__getitem__, reverse=True)[: most - self.open]
        if queues:
            each = (most - self.open) // len(queues)
            self._made, self._left, self._until = True, self.open + each * len(queues), now + OPEN
            offers.offer(tx, self.worker_id, dict.fromkeys(queues, each), seconds=OPEN)

    # Taking in

    def claim(self, tx: Tx, lanes: Sequence[Lane], limit: int) -> list[Job]:
        """Claim tasks from the lanes, best first; take in and return them."""
        with self.alone():
            jobs = self._read(tx, tasks.claim(tx, self.worker_id, lanes=lanes, limit=limit))
            self._in_flight.add(jobs)
        return jobs

    def take(self, tx: Tx) -> list[Job]:
        """Take in and return the assigned tasks of which notifications told."""
        told = {self._told.popleft() for _ in range(len(self._told))}
        try:
            with self.alone():
                unknown = told.difference(self._in_flight.ids())
                jobs = self._read(tx, offers.fetch(tx, self.worker_id, list(unknown)) if unknown else [])
                self._in_flight.add(jobs)
        except BaseException:
            self._told.extend(told)
            raise
        self._left = max(0, self._left - len(jobs))  # by rows, not by notifications, which any session may send
        return jobs

    def _read(self, tx: Tx, jobs: list[Job]) -> list[Job]:
        """Return the jobs with what rows of other tables tell of them; most jobs need none."""
        return read_ahead(tx, stamps.marked(tx, jobs))

    def end(self, tx: Tx) -> list[Job]:
        """Withdraw all offers; take in and return tasks that were assigned without a notification.

        If a call is slow to commit, some offers stay, and the next try withdraws them.
        """
        over = offers.withdraw_soon(tx, self.worker_id, timeout=TIMEOUT)
        jobs = self.found(tx)
        if over:
            self._made, self._left = False, 0
        else:
            self._until = self._clock() + AGAIN
        return jobs

    def found(self, tx: Tx) -> list[Job]:
        """Take in and return tasks that the database has as ours, and that are not in flight here."""
        with self.alone():
            jobs = stamps.marked(tx, tasks.adopt(tx, self.worker_id, known=self._in_flight.ids()))
            self._in_flight.add(jobs)
        return jobs

    def release_all(self, tx: Tx, prefetched: Sequence[Job] = ()) -> list[Job]:
        """Withdraw all offers; release the prefetched tasks and those that calls assigned, and return the latter.

        For another thread, while the claimer's loop is blocked; a task that it was just taking in stays.
        """
        offers.withdraw_soon(tx, self.worker_id, timeout=TIMEOUT)
        jobs: list[Job] = []
        if self._taking.acquire(blocking=False):
            try:
                jobs = tasks.adopt(tx, self.worker_id, known=self._in_flight.ids())
                self._release(tx, jobs)
            finally:
                self._taking.release()
        self._release(tx, prefetched)
        return jobs

    def _release(self, tx: Tx, jobs: Sequence[Job]) -> None:
        if jobs:
            tasks.requeue(tx, self.worker_id, [released(job) for job in jobs])

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep ``release_all`` out: tasks that are being taken in are not in ``InFlight`` yet."""
        while not self._taking.acquire(blocking=False):  # without blocking, which would stop all greenlets
            time.sleep(0.005)
        try:
            yield
        finally:
            self._taking.release()


def most_of(slots: int) -> int:
    """Return the most offers of a child with so many slots."""
    return min(MOST, slots // SHARE)
