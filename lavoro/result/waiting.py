"""Waiting for a task: until its row says that it is over, or too long."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from lavoro.exceptions import LavoroError, OperationalError, TimeoutError
from lavoro.protocol.ids import task_uuid
from lavoro.result.stored import is_over
from lavoro.store import queues
from lavoro.store.results import StoredTask
from lavoro.text.commands import command
from lavoro.text.plural import counted


class Waiting(NamedTuple):
    """One call of ``get``: it subscribes first and looks second, so that no end falls between."""

    site: Any
    id: str
    name: str | None
    """The task's name, where it is known here."""
    look: Callable[[], StoredTask | None]
    """Reads the row."""
    deadline: float | None
    """By the monotonic clock; None: without end."""

    def wait(self, interval: float, on_interval: Callable[[], Any] | None) -> StoredTask:
        """Return the row of the task that is over; look every ``interval`` seconds in case a notification is lost."""
        id, listener = task_uuid(self.id), self.site.result_listener
        first = listener.listening
        if not first and (task := self.look()) is not None and is_over(task):
            return task  # without a listening connection
        event = listener.subscribe(id, timeout=interval if self.deadline is None else min(interval, self._left()))
        try:
            while True:
                task, first = self.look() if first else self._look_patiently(), False
                if task is not None and is_over(task):
                    return task
                event.wait(self._pause(task, interval))
                event.clear()
                if on_interval:
                    on_interval()
        finally:
            listener.unsubscribe(id, event)

    def _left(self) -> float:
        return max(0.0, (self.deadline or 0.0) - time.monotonic())

    def _pause(self, task: StoredTask | None, interval: float) -> float:
        if self.deadline is None:
            return interval
        left = self._left()
        if not left:
            raise TimeoutError(f"task {self._described(task)}")
        return min(interval, left)

    def _look_patiently(self) -> StoredTask | None:
        """Look; an outage of the database is waited for."""
        try:
            return self.look()
        except OperationalError:
            if self.deadline is not None and not self._left():
                raise
            return None

    def _described(self, task: StoredTask | None) -> str:
        """Describe the stage of the task, and the reason why it has not started."""
        name = f"{self.name or (task and task.name)}[{self.id}]" if self.name or task else self.id
        if task is None:
            return (
                f"{name} is not in the database: a transaction that it was sent in (connection= or app.transaction())"
                " is not committed yet or was rolled back, or it is unknown, forgotten or expired"
            )
        if task.stage != "waiting":
            return f"{name} has no result yet: it is running, on {task.worker or 'a worker that is gone'}"
        why = f" ({task.reason})" if task.reason else ""
        return f"{name} has no result yet: it is waiting{why} in the queue {task.queue!r}{self._served(task.queue)}"

    def _served(self, queue: str) -> str:
        try:
            nodes, paused = queues.workers_of(self.site.database, queue)
        except LavoroError:  # an outage, or no right to read that
            return ""
        if paused:
            return ", which is paused"
        if not nodes:
            start = f"start one on this database ({self.site.database_shown}): {command('worker', '-Q', queue)}"
            return f", and no live worker serves that: {start}"
        return f", which {counted(len(nodes), 'live worker serves', 'live workers serve')}: {', '.join(nodes)}"
