"""Ends a worker that has nothing left to do, or has used its quota up, and counts the tasks that failed or wait."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from functools import partial

from lavoro.exceptions import LavoroError
from lavoro.store import tasks, workers
from lavoro.store.database import Database
from lavoro.store.errors import translated
from lavoro.store.tx import Tx
from lavoro.text.plural import counted
from lavoro.worker.config import FAILED, WorkerOptions
from lavoro.worker.quota import Quota
from lavoro.worker.supervisor.children import Children
from lavoro.worker.supervisor.leases import Leases
from lavoro.worker.supervisor.loop import Loop

logger = logging.getLogger("lavoro.worker")

REASON = "drain"
"""The reason for which the children rest while the database is asked."""
FIRST, LONGEST = 0.25, 5.0
"""Seconds between two questions while tasks are due that no child gets: another session may have locked them."""


class Drain:
    """Asks the database whether a task is due, once no child has any in flight; if none is, the worker stops.

    The children rest meanwhile. A task that the last outcome has stored, or a claim that was under way, could escape
    any other question: it is in no child yet, or no longer in the queue.
    """

    def __init__(
        self, options: WorkerOptions, children: Children, leases: Leases, loop: Loop, stop: Callable[[str], object]
    ) -> None:
        self._drains, self._children, self._leases, self._loop, self._stop = (
            options.drain, children, leases, loop, stop,
        )  # fmt: skip
        self._quota = None if options.quota is None else Quota(options.quota)
        self._next, self._pause = -math.inf, FIRST
        self._asked: int | None = None
        """The number of the order to rest to which the question under way belongs."""

    # The main thread

    def turn(self, now: float) -> None:
        """Do what is next; to be called whenever something has happened, until the worker stops."""
        quiet, spent = self._leases.quiet, self._quota is not None and not self._quota.left
        idle = self._drains and self._idle
        if not idle:
            self._pause = FIRST
        if not (spent or (idle and now >= self._next)):
            quiet.end(REASON)
            return
        quiet.begin(REASON)
        if not quiet.complete:
            return
        if spent:
            self._stop("the last of its tasks has ended")
        elif self._asked != quiet.order:
            self._asked = quiet.order
            self._leases.upkeep.ask(partial(self._look, asked=quiet.order))

    @property
    def _idle(self) -> bool:
        """Whether no child has told of a task in flight, and none rests for another reason."""
        children = self._children
        idle = children.settled and all(child.idle for child in children.present)
        return idle and not self._leases.quiet.asked_by_others(REASON)

    def _answered(self, *, due: bool, asked: int | None) -> None:
        quiet, self._asked = self._leases.quiet, None
        if asked != quiet.order or not quiet.complete:
            return  # something has happened meanwhile
        if not due:
            self._stop("nothing is left to do")
            return
        self._next, self._pause = time.monotonic() + self._pause, min(2 * self._pause, LONGEST)
        quiet.end(REASON)

    # The upkeep's thread

    def _look(self, tx: Tx, *, asked: int | None) -> None:
        """See whether a task is due, or may be: tasks of a child that is gone come back with its rescue."""
        due = self._leases.upkeep.rescuer.pending
        due = due or any(due_in <= 0 for _, _, due_in in tasks.discover_lanes(tx, self._leases.queues))
        self._loop.post(partial(self._answered, due=due, asked=asked))

    # The end

    def conclude(self, database: Database) -> tuple[int, str]:
        """Return the exit code, and the end of the worker's last line; to be called once all children are gone."""
        if self._quota is None:
            return 0, ""
        started = counted(self._quota.taken, "task started", "tasks started")
        try:
            with translated(), database.tx() as tx:
                left = workers.left_by(tx, self._leases.given, queues=self._leases.queues)
        except LavoroError as error:
            logger.error("the failures of this worker could not be counted: %s", error)
            return 1, started
        parts = [
            f"{number:,} {words}"
            for number, words in ((left.due, "due now"), (left.later, "due later"), (left.paused, "paused"))
            if number
        ]
        failed = f"{left.failed:,} failed" if left.failed else "none failed"
        return FAILED if left.failed else 0, f"{started}, {failed}; left: {', '.join(parts) or 'none'}"
