"""Waiting for a task: until its row says that it is over, or too long."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

from lavoro.exceptions import LavoroError, OperationalError, TimeoutError
from lavoro.protocol.ids import task_uuid
from lavoro.result.stored import Known, is_over
from lavoro.store import queues
from lavoro.store.results import Ended, StoredTask
from lavoro.store.tx import Tx
from lavoro.text.commands import command
from lavoro.text.plural import counted

T = TypeVar("T")


class Waiting(NamedTuple):
    """One call of ``get``: it subscribes first and looks second, so that no end falls between."""

    site: Any
    id: str
    name: str | None
    """The task's name, where it is known here."""
    look: Callable[[], StoredTask | None]
    """Reads the row of the task."""
    look_for_outcome: Callable[[Tx], Ended | None]
    """Reads its outcome, in half of the time; None while it is not over."""
    deadline: float | None
    """By the monotonic clock; None: without end."""
    parent: Any = None
    """The result of the task before it in a chain."""

    def wait(self, interval: float, on_interval: Callable[[], Any] | None) -> Known:
        """Return the outcome, or the row, of the task that is over; without a notification read the row again."""
        id, listener = task_uuid(self.id), self.site.result_listener
        first = listener.listening
        if not first:
            with self.site.database.tx() as tx:
                outcome = self.look_for_outcome(tx)
            if outcome is not None:
                return outcome  # without a listening connection
        subscription = listener.subscribe(id, timeout=min(interval, self._left()))
        try:
            look = partial(subscription.ask, self.look_for_outcome)
            task: Known | None = look() if first else self._patiently(look)
            while task is None or not is_over(task):
                if not (left := self._left()):
                    return self._last_look()
                heard = subscription.wait(min(interval, left))
                subscription.take()
                task = self._patiently(look) if heard else None
                if task is None and on_interval:
                    on_interval()
                if task is None:  # a state that the task has set itself may be final too
                    task = self._patiently(self.look)
            return task
        finally:
            listener.unsubscribe(subscription)

    def _left(self) -> float:
        return math.inf if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def _last_look(self) -> StoredTask:
        task = self._patiently(self.look)
        if task is not None and is_over(task):
            return task
        raise TimeoutError(f"task {described(self.site, self.id, self.name, task, self.parent)}")

    def _patiently(self, look: Callable[[], T | None]) -> T | None:
        """Look; an outage of the database is waited for."""
        try:
            return look()
        except OperationalError:
            if not self._left():
                raise
            return None


def described(site: Any, id: str, name: str | None, task: StoredTask | None, parent: Any = None) -> str:
    """Describe the stage of a task that is not over, and the reason why it has not started."""
    name = f"{name or (task and task.name)}[{id}]" if name or task else id
    if task is None and (before := _before(parent)) is not None:
        return f"{name} is not sent yet: the task before it, {described(site, *before)}"
    if task is None:
        return (
            f"{name} is not in the database: a transaction that it was sent in (connection= or app.transaction())"
            " is not committed yet or was rolled back, or it is unknown, forgotten or expired"
        )
    if task.stage == "held":
        return f"{name} has no result yet: it {task.reason}, for the queue {task.queue!r}"
    if task.stage != "waiting":
        return f"{name} has no result yet: it is running, on {task.worker or 'a worker that is gone'}"
    why = f" ({task.reason})" if task.reason else ""
    return f"{name} has no result yet: it is waiting{why} in the queue {task.queue!r}{_served(site, task.queue)}"


def _before(parent: Any) -> tuple[str, str, StoredTask] | None:
    """Return the last of the tasks before one in a chain that was sent, unless it is over."""
    while parent is not None:
        task: StoredTask | None = parent._fetch() if hasattr(parent, "_fetch") else None
        if task is not None:
            return None if is_over(task) else (parent.id, task.name, task)
        parent = parent.parent
    return None


def _served(site: Any, queue: str) -> str:
    try:
        nodes, paused = queues.workers_of(site.database, queue)
    except LavoroError:  # an outage, or no right to read that
        return ""
    if paused:
        return ", which is paused"
    if not nodes:
        start = f"start one on this database ({site.database_shown}): {command('worker', '-Q', queue)}"
        return f", and no live worker serves that: {start}"
    return f", which {counted(len(nodes), 'live worker serves', 'live workers serve')}: {', '.join(nodes)}"
