"""Releases prefetched tasks: another process may have free slots for them."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from functools import partial

from lavoro.protocol import outcome
from lavoro.protocol.message import Job
from lavoro.runtime.native import NativeThread
from lavoro.store.database import Database
from lavoro.store.deadline import ANSWER
from lavoro.store.errors import OUTAGE
from lavoro.store.session import Session
from lavoro.text.plural import counted
from lavoro.worker.child.capacity import Capacity
from lavoro.worker.child.finisher import Finisher
from lavoro.worker.child.offers import Offers
from lavoro.worker.scoreboard import Scoreboard

logger = logging.getLogger("lavoro.worker")

CHECK = 0.5
"""Seconds between checks whether the loop is blocked."""
STUCK = 1.0
"""Seconds without a turn of the loop after which its prefetched tasks are released."""


class Prefetched:
    """The tasks that were claimed and that no slot has begun yet.

    A slot takes a job from the pool in one step that nothing interrupts, and so does a release: a
    released task cannot begin here.
    """

    def __init__(self, capacity: Capacity, finisher: Finisher, offers: Offers, database: Database) -> None:
        self._capacity, self._pool, self._finisher, self._offers = capacity, capacity.pool, finisher, offers
        self._session = Session(database, "lavoro-release", patience=ANSWER)
        """Only for a release while the loop is blocked: the finisher is in that loop."""
        self._ran_before: list[uuid.UUID] | None = None
        self._watch: NativeThread | None = None
        self._withdrawn = 0.0
        """The last turn of a loop that was blocked: offers are withdrawn once for each time it is."""

    def release(self) -> None:
        """Release all."""
        self._release(self._pool.take_back())

    def release_stuck(self) -> None:
        """Release all if no running task has ended since the last tick: other processes may have free slots.

        They were claimed for the next tenth of a second, which is one tick: the forecast was wrong. Where many run,
        some end in each tick: then each is released that has waited for ten of them.
        """
        overdue = self._pool.take_back_overdue()
        running = self._pool.running if self._pool.waiting else None
        if running and running == self._ran_before:
            self._capacity.prefetch_less()
            self.release()
        elif overdue:
            self._capacity.prefetch_less()
        self._release(overdue)
        self._ran_before = running

    def _release(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._finisher.put(outcome.released(job))

    # While the loop is blocked

    def watch(self, scoreboard: Scoreboard) -> None:
        """Release all whenever the loop is blocked, from a thread of the operating system: a greenlet could not."""
        self._watch = NativeThread("release of prefetched tasks", partial(self._check, scoreboard))
        self._watch.start()

    def watch_no_longer(self) -> None:
        """End that thread, if there is one."""
        if self._watch is not None:
            self._watch.stop()

    def _check(self, scoreboard: Scoreboard) -> float:
        ticked = scoreboard.ticked
        offered = self._offers.made and ticked != self._withdrawn
        if time.monotonic() - ticked > STUCK and (self._pool.waiting or offered):
            self._withdrawn = ticked
            self.release_blocked()
        return CHECK

    def release_blocked(self) -> None:
        """Release all, and the tasks that calls assigned to us meanwhile, without the blocked loop.

        Without a database the finisher releases them as soon as the loop turns.
        """
        jobs = self._pool.take_back()
        try:
            assigned = self._offers.release_all(self._session.open(), jobs)
        except Exception as error:
            if jobs:
                stuck = counted(len(jobs), "task")
                logger.warning("%s behind a blocked loop could not be released yet: %s", stuck, error)
            self._session.lose()
            self._end_abandoned_session()
            self._release(jobs)
        else:
            if jobs or assigned:
                freed = counted(len(jobs) + len(assigned), "task")
                logger.info("%s behind a blocked loop released", freed)
            self._capacity.prefetch_less()
            self._finisher.released(jobs)
        finally:
            self._session.close()

    def _end_abandoned_session(self) -> None:
        """End the session: its statement might commit after the finisher's, when we have the same task again."""
        with contextlib.suppress(*OUTAGE):
            self._session.open()
