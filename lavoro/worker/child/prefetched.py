"""Relief: what waits behind a loop that does not turn goes back to its queue, where others may have room for it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from lavoro.protocol import outcome
from lavoro.protocol.message import Job
from lavoro.runtime.native import unpatched
from lavoro.store import tasks
from lavoro.store.database import OUTAGE, Database
from lavoro.store.deadline import ANSWER
from lavoro.store.session import Session
from lavoro.text.plural import counted
from lavoro.worker.child.finisher import Finisher
from lavoro.worker.child.offers import Offers
from lavoro.worker.child.pools.base import Pool
from lavoro.worker.scoreboard import Scoreboard

logger = logging.getLogger("lavoro.worker")

LOOK = 0.5
STUCK = 1.0
"""Seconds without a turn of the loop after which what has not begun goes back."""


class Relief:
    """A thread of the operating system, where gevent has patched too: the finisher is as stuck as the loop it is in.

    A slot takes a job from the pool in one step that nothing interrupts, and so does this thread: what it has taken no
    slot can begin, however soon the loop turns again. It has a connection of its own, only while it needs one.
    """

    def __init__(
        self, board: Scoreboard, pool: Pool, finisher: Finisher, database: Database, *, worker_id: int, offers: Offers,
        relieved: Callable[[list[Job]], object],
    ) -> None:  # fmt: skip
        self._board, self._pool, self._finisher = board, pool, finisher
        self._session = Session(database, "lavoro-relief", patience=ANSWER)
        self._worker_id, self._offers, self._relieved = worker_id, offers, relieved
        self._sleep: Callable[[float], object] = unpatched("time", "sleep")

    def start(self) -> None:
        """Begin to watch."""
        unpatched("_thread", "start_new_thread")(self._watch, ())

    def _watch(self) -> None:
        relieved = 0.0
        while True:
            self._sleep(LOOK)
            ticked = self._board.ticked
            if time.monotonic() - ticked > STUCK and (self._pool.waiting or (self._offers.made and ticked != relieved)):
                relieved = ticked  # offers are withdrawn once for each time the loop stands still
                self._relieve(self._pool.take_back())

    def _relieve(self, jobs: list[Job]) -> None:
        back = [outcome.released(job) for job in jobs]
        try:
            tx = self._session.open()
            assigned = self._offers.disown(tx)
            if back:
                tasks.give_back(tx, self._worker_id, back)
        except Exception as error:  # then as soon as the loop turns
            if jobs:
                stuck = counted(len(jobs), "task")
                logger.warning("%s behind a blocked loop could not be given back yet: %s", stuck, error)
            self._session.lose()
            self._end_what_was_given_up()
            for returned in back:
                self._finisher.put(returned)
        else:
            if jobs or assigned:
                freed = counted(len(jobs) + len(assigned), "task")
                logger.info("%s behind a blocked loop went back to the queue", freed)
            self._relieved(jobs)
        finally:
            self._session.close()

    def _end_what_was_given_up(self) -> None:
        """End the session: its statement might commit after the finisher's, when we hold the same task again."""
        with contextlib.suppress(*OUTAGE):
            self._session.open()
