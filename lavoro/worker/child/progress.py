"""Stores the progress of running tasks; a failure to do so never fails a task."""

from __future__ import annotations

import logging
import time

from lavoro.protocol.message import Job
from lavoro.protocol.progress import TooLong, progress
from lavoro.store import tasks
from lavoro.store.abandoned import end_abandoned
from lavoro.store.database import Database
from lavoro.store.deadline import Backend
from lavoro.store.errors import OUTAGE

logger = logging.getLogger("lavoro.worker")

PAUSES = (0.0, 0.2, 0.2)
"""Seconds before each further try, as calls have them by default."""


class Progress:
    """Stores the states of running tasks, each at once, on a pooled connection, while the task waits."""

    def __init__(self, database: Database, *, worker_id: int, longest: int) -> None:
        self._database, self._worker_id, self._longest = database, worker_id, longest

    def store(self, job: Job, state: str, meta: object) -> None:
        """Store a state with its metadata, unless that is too long; the task goes on whatever becomes of it.

        Without a database it is dropped after some tries.
        """
        try:
            state, text = progress(state, meta, self._longest)
        except TooLong as error:
            logger.warning("progress of %s[%s] is not stored: %s", job.name, job.task_id, error)
            return
        abandoned: Backend | None = None
        for pause in (*PAUSES, None):
            try:
                self._try(job, state, text, abandoned)
            except OUTAGE as error:
                if pause is None:
                    logger.warning(
                        "progress of %s[%s] cannot be stored and is dropped: %s", job.name, job.task_id, error
                    )
                else:
                    abandoned = getattr(error, "abandoned", None) or abandoned
                    time.sleep(pause)
            else:
                break

    def _try(self, job: Job, state: str, text: str | None, abandoned: Backend | None) -> None:
        with self._database.tx() as tx:
            if abandoned is not None:  # else it could overwrite later progress
                end_abandoned(tx, abandoned)
            if not tasks.store_progress(tx, self._worker_id, job, state=state, meta=text):
                logger.warning("progress of %s[%s] was refused: its lease was lost", job.name, job.task_id)
