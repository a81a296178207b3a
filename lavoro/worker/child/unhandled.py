"""Calls the handlers of tasks that ended without their process: at a hard limit, or because their worker was lost."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lavoro import serialization
from lavoro.execution.executor import handle_end
from lavoro.execution.run_settings import RunSettings
from lavoro.protocol.failure import release
from lavoro.protocol.message import Job, Message
from lavoro.runtime.service import Service
from lavoro.store import tasks, unhandled
from lavoro.store.database import Database
from lavoro.store.deadline import ANSWER
from lavoro.store.errors import OUTAGE
from lavoro.store.session import Session
from lavoro.store.unhandled import Unhandled
from lavoro.text.printable import described
from lavoro.worker.child.import_context import inherited

logger = logging.getLogger("lavoro.worker")


class EndHandlers(Service):
    """A thread of a child, started when the supervisor knows of such tasks.

    A task stays in the database until its handlers have come back. If this process ends before that, another one calls
    them again. The connection is open only meanwhile.
    """

    name = "handlers"
    expected = OUTAGE

    def __init__(self, database: Database, worker_id: int, tasks: Mapping[str, Any], settings: RunSettings) -> None:
        super().__init__()
        self._session = Session(database, "lavoro-handlers", patience=ANSWER)
        self._worker_id, self._tasks, self._settings = worker_id, tasks, settings
        self._asked = self._answered = 0
        self.done: Callable[[], object] = lambda: None
        """Called when there is no such task left."""

    @property
    def busy(self) -> bool:
        """Whether it calls handlers, or is about to."""
        return self._answered != self._asked

    def call(self) -> None:
        """Call the handlers of the tasks that the database keeps now; only in the thread of the orders."""
        self._asked += 1
        if self._thread is None:
            self.within = inherited()
            self.start()
        else:
            self.wake()

    def step(self) -> None:
        """Call the handlers of all such tasks that this process knows."""
        asked = self._asked
        try:
            with self._session:
                self._call_all()
            self._session.close()
        finally:
            self._answered = asked
            self.done()

    def close(self) -> None:
        """Take in that no handler is called any more: one that was due waits for another process."""
        self._answered = self._asked
        self.done()

    def _call_all(self) -> None:
        while not self.stopping:
            ended = unhandled.take(self._session.open(), self._worker_id, list(self._tasks))
            if ended is None:
                break
            messages = self._handle(ended, ended.job) if ended.job is not None else ()
            self._drop(ended, messages)

    def _drop(self, ended: Unhandled, messages: Sequence[Message]) -> None:
        """Take in that the handlers have come back, soon: if this process ends before, they are called again."""
        tx = self._session.open()
        if not messages:
            unhandled.drop(tx, self._worker_id, ended.id)
            return
        with tx.connection.transaction():
            if unhandled.drop(tx, self._worker_id, ended.id):
                tasks.insert(tx, messages)

    def _handle(self, ended: Unhandled, job: Job) -> Sequence[Message]:
        """Call the handlers of a task; return the messages of its error callbacks."""
        try:
            error = serialization.loads_exception(serialization.loads(ended.error))
            how = json.loads(ended.cancel) if ended.cancel else {}
            follow = handle_end(self._tasks[job.name], job, self._settings, error, signal=how.get("signal"))
            return follow.messages if follow is not None else ()
        except BaseException as error:  # SystemExit and its like end a handler, never the thread
            logger.exception("the handlers of task %s[%s] ended with %s", job.name, job.id, described(error))
            release(error)
            return ()
