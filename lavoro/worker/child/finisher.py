"""Stores outcomes: one loop takes all that came since its last commit."""

from __future__ import annotations

import contextlib
import logging
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import errors as pg

from lavoro import serialization
from lavoro.canvas.continuation import never
from lavoro.protocol import outcome as outcomes
from lavoro.protocol.message import Job
from lavoro.protocol.outcome import Finished, Outcome, Requeued
from lavoro.protocol.place import Follow
from lavoro.runtime.service import Service
from lavoro.store import tasks
from lavoro.store.database import Database
from lavoro.store.deadline import ANSWER
from lavoro.store.errors import OUTAGE, first_line
from lavoro.store.session import Session
from lavoro.store.tx import Tx
from lavoro.text.plural import counted
from lavoro.worker.child.in_flight import InFlight

logger = logging.getLogger("lavoro.worker")

REFUSED = (
    psycopg.DataError, psycopg.IntegrityError, pg.ProgramLimitExceeded, pg.StatementTooComplex,
    ValueError, TypeError, struct.error,
)  # fmt: skip
"""Errors that an outcome itself causes; after any other error the batch is stored again."""
MOST = 2000
"""Most outcomes of one batch."""
LARGE = 4_000_000
"""Most bytes of one batch; a larger outcome is a batch alone."""
SLOWEST = 100_000
"""Bytes per second that a network must carry: a larger batch has more time for its answer."""


class Finisher(Service):
    """Stores outcomes in batches: one statement and commit for finished tasks, and one for requeued tasks.

    There is no timer: under load a batch has the tasks that ended during the last commit, otherwise one task.
    An outcome stays here until the database has answered. After a lost connection it is stored again, which the fence
    makes harmless.
    """

    name = "finisher"
    expected = OUTAGE

    def __init__(self, database: Database, in_flight: InFlight, *, worker_id: int) -> None:
        super().__init__()
        self._in_flight, self._worker_id = in_flight, worker_id
        # A deque: slots append to it while the loop takes from it.
        self._outcomes: deque[Outcome] = deque()
        self._abandoned: Sequence[Job] = ()
        self._session = Session(database, "lavoro-finisher", patience=ANSWER)
        self.stored: Callable[[], object] = lambda: None
        """Called after each batch."""
        self.count: Callable[[Sequence[Outcome]], object] = lambda batch: None
        """Gets each batch that is stored."""
        self.settle_alone: Callable[[Tx, Outcome], bool] = lambda tx, outcome: False
        """Stores an outcome in a shorter way, if there is one for it, and returns whether it did."""
        self.tell: Callable[..., float | None] = lambda tx, now=False: None
        """Tells callers of ends that were stored so; returns how long that may wait."""
        self.stop_timeout = 3.0
        """Seconds to try to store the last outcomes when the worker stops."""

    def put(self, outcome: Outcome) -> None:
        """Have an outcome stored."""
        self._outcomes.append(outcome)
        self._wakeup.set()

    def abandon(self, jobs: Sequence[Job]) -> None:
        """Keep the connection at the end for ``release_running``, which releases those of these that still run."""
        self._abandoned = jobs

    def released(self, jobs: Sequence[Job]) -> None:
        """Take in that another connection has released tasks."""
        self._in_flight.release(jobs)
        self.stored()

    def step(self) -> float | None:
        """Store one batch; connect even without any outcome: later the server may have no connection left."""
        tx = self._session.open()
        connection: Any = tx.connection
        with self._session:
            untold = self.tell(tx)
        batch, size = self._next_batch()
        if not batch:
            return untold
        connection.patience = ANSWER + size / SLOWEST
        try:
            with self._session:
                self._store_or_explain(batch)
        except Exception:
            # No outcome is dropped; a repeat is harmless. A batch of one large outcome goes behind all others.
            (self._outcomes.extend if size > LARGE else self._outcomes.extendleft)(reversed(batch))
            raise
        self.count(batch)
        self._in_flight.release(outcome.job for outcome in batch)
        self.stored()
        return 0

    def _next_batch(self) -> tuple[list[Outcome], int]:
        """Take the waiting outcomes that fit into one batch; return them with their size in bytes."""
        batch: list[Outcome] = []
        total = 0
        while self._outcomes and len(batch) < MOST:
            size = outcomes.weight(self._outcomes[0])
            if batch and total + size > LARGE:
                break
            batch.append(self._outcomes.popleft())
            total += size
        return batch, total

    def close(self) -> None:
        """Store the last ones, then close the connection."""
        deadline = time.monotonic() + self.stop_timeout
        while self._outcomes and time.monotonic() < deadline:
            self._wakeup.clear()
            delay = self.try_step()
            if delay:
                self._wakeup.wait(delay)
        if self._outcomes:
            what = counted(len(self._outcomes), "outcome")
            logger.error("%s could not be stored: these tasks will run again", what)
        if self._session.tx is not None:
            with contextlib.suppress(psycopg.Error):
                self.tell(self._session.tx, now=True)
        if not self._abandoned:
            self._session.close()

    def release_running(self) -> None:
        """Send that tasks are released which still run here: their starts do not count. The process must end now.

        Another worker may start them from the commit on, so no answer is waited for. Without a connection their lease
        expires.
        """
        running = [job for job in self._abandoned if self._in_flight.holds(job)]
        if not running:
            return
        try:
            tasks.send_release(self._session.open(), self._worker_id, running)
        except (*OUTAGE, psycopg.Error) as error:
            what = counted(len(running), "task that runs", "tasks that run")
            logger.warning("%s here could not be released: %s", what, first_line(error))

    def _store(self, batch: Sequence[Outcome]) -> None:
        """Store each kind in a transaction of its own, whose rows are locked in the order of their ids.

        One transaction for both would lock rows in two such orders, and could deadlock with a revoke or a rescue of
        the same tasks.
        """
        tx = self._session.open()
        if len(batch) == 1 and self.settle_alone(tx, batch[0]):
            return
        finished = [outcome for outcome in batch if type(outcome) is Finished]
        # A requeued, uncounted start has the fence of the next start. If the task is in flight anew, it was stored.
        back = [outcome for outcome in batch if type(outcome) is Requeued and self._in_flight.holds(outcome.job)]
        accepted = tasks.finish(tx, self._worker_id, finished) if finished else 0
        accepted += tasks.requeue(tx, self._worker_id, back) if back else 0
        if accepted < len(batch):
            self._explain(tx, batch)

    def _explain(self, tx: Tx, batch: Sequence[Outcome]) -> None:
        """Log outcomes that the fence refused; others were stored before, by a commit whose answer was lost."""
        before = tasks.accepted(tx, self._worker_id, [outcome.job.id for outcome in batch])
        for outcome in batch:
            if (outcome.job.id, outcome.job.attempt) not in before and isinstance(outcome, Finished):
                logger.warning(
                    "outcome %s of %s[%s] was refused: start %d had lost its lease",
                    outcome.state, outcome.job.name, outcome.job.task_id, outcome.job.attempt,
                )  # fmt: skip

    def _store_or_explain(self, batch: Sequence[Outcome]) -> None:
        """Store a batch; an outcome that the database refuses becomes a failure that says so."""
        try:
            self._store(batch)
        except REFUSED as error:
            if len(batch) == 1:
                self._store([self._refused(batch[0], error)])
            else:
                for outcome in batch:
                    self._store_or_explain([outcome])

    def _refused(self, refused: Outcome, error: Exception) -> Outcome:
        """Return the failure that says so; what was to follow ends with it."""
        job = refused.job
        logger.error("the outcome of %s[%s] cannot be stored: %s", job.name, job.task_id, first_line(error))
        reason = ValueError(f"the outcome of {job.name} cannot be stored: {first_line(error)}")
        failed = outcomes.failed(job, serialization.dumps_exception(reason), None)
        follow = refused.follow if isinstance(refused, Finished) else None
        return failed if follow is None else failed._replace(follow=Follow(never=never(job.read_options())))
