"""The inspector of an application: ``app.inspector``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lavoro.inspector import actions, filters, past, present
from lavoro.inspector.detail import detail
from lavoro.inspector.listing import MOST, listed
from lavoro.inspector.selection import Selection
from lavoro.inspector.values import (
    Count,
    Done,
    Failures,
    HistoryPoint,
    Page,
    QueueInfo,
    TaskDetail,
    TaskInfo,
    WorkerInfo,
)
from lavoro.store import queues as store


class Inspector:
    """Finds, shows, counts and changes the tasks of an application's database.

    Reading takes the rights of the role ``readonly``, changing those of the role ``worker``. Each answer is read from
    the tables: it is complete, also while every worker is busy or gone.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    def tasks(
        self, *, queue: str | Sequence[str] | None = None, state: str | Sequence[str] | None = None,
        stage: str | Sequence[str] | None = None, name: str | None = None,
        args: str | Mapping[str, Any] | Sequence[Any] | None = None, worker: str | None = None,
        since: dt.datetime | dt.timedelta | None = None, until: dt.datetime | dt.timedelta | None = None,
        error: str | Sequence[str] | None = None, key: None = None, order: str = "newest", limit: int = 100,
        cursor: str | None = None,
    ) -> Page:  # fmt: skip
        """Return a page of the tasks that match all of the conditions.

        ``stage`` is waiting (due), scheduled (for later), held, running or finished; ``name`` may have ``*`` and ``?``;
        ``args`` is a dict that the keyword arguments contain, a list that the positional ones contain, or a JSON path
        over both; ``worker`` is a node; ``error`` is a class of exceptions. ``since`` and ``until`` compare the time at
        which a task came to its stage: its call, its start or its end. ``order`` is newest or oldest, by the ids, whose
        order is that of the calls unless callers chose them, or ended, the finished tasks with the latest end first.

        A task has the same place in the order while it moves. So from page to page each task that is there all the time
        comes exactly once; one that is sent meanwhile comes once at most. A page reads at most 10,000 tasks of a table
        that do not match, and then ends early: its ``complete`` is False, and its ``next`` goes on there.
        """
        given = {
            "queue": queue, "state": state, "stage": stage, "name": name, "args": args, "worker": worker,
            "since": since, "until": until, "error": error, "key": key,
        }  # fmt: skip
        wanted = filters.filter_of({name: value for name, value in given.items() if value is not None})
        filters.order_of(order)
        after = filters.key_of(order, cursor)
        return listed(self._app.database, wanted, order=order, limit=filters.limit_of(limit, MOST), after=after)

    def iterate(self, *, order: str = "newest", cursor: str | None = None, **filter: Any) -> Iterator[TaskInfo]:
        """Yield all tasks that match, a page of a thousand at a time; the arguments are those of ``tasks``."""
        while True:
            page = self.tasks(order=order, limit=MOST, cursor=cursor, **filter)
            yield from page.items
            if (cursor := page.next) is None:
                return

    def show(self, task_id: str) -> TaskDetail:
        """Return all that is stored of a task: also why it waits, and its earlier starts; raises ``TaskNotFound``."""
        return detail(self._app.database, task_id)

    def counts(self, by: str = "stage") -> dict[str, Count]:
        """Return how many tasks there are by their stage, state, queue or name, the largest number first.

        Of a table over 8 MB a thousand pages are read, at random: the numbers are estimated then, and say so. A
        queue, name or state with few tasks may be missing.
        """
        return present.counts(self._app.database, by)

    def queues(self) -> tuple[QueueInfo, ...]:
        """Return the queues: those of the application, and others that have tasks, workers or a past hour.

        While many tasks wait, the numbers of the queues with over a thousand are estimated.
        """
        return present.queues(self._app.database, tuple(self._app.queues))

    def workers(self) -> tuple[WorkerInfo, ...]:
        """Return the live processes of all nodes."""
        return present.workers(self._app.database)

    def failures(
        self, *, since: dt.datetime | dt.timedelta | None = None, until: dt.datetime | dt.timedelta | None = None,
        queue: str | Sequence[str] | None = None, name: str | None = None, error: str | Sequence[str] | None = None,
    ) -> Failures:  # fmt: skip
        """Return the tasks that did not succeed in a time, grouped by name and class of error; by default in an hour.

        The latest 10,000 are read; with more of them, ``complete`` is False.
        """
        given = {"since": since, "until": until, "queue": queue, "name": name, "error": error}
        return present.failed(self._app.database, given)

    def history(
        self, period: str = "hour", *, since: dt.datetime | dt.timedelta | None = None,
        until: dt.datetime | dt.timedelta | None = None, queue: str | Sequence[str] | None = None,
        name: str | None = None, state: str | Sequence[str] | None = None, by: str | None = None,
    ) -> tuple[HistoryPoint, ...]:  # fmt: skip
        """Return how many tasks ended in each minute, hour or day, in the order of time.

        The workers count each minute once it is over. Minutes are kept for two days, hours and days for 90. Without
        ``since`` it is the last hour, day or 30 days. Each period has a point; with ``by`` (queue or name) one for each
        of these of which tasks ended in it. ``name`` may have ``*`` and ``?``::

            [day.finished for day in app.inspector.history("day", name="shop.*")]
        """
        given = {"since": since, "until": until, "queue": queue, "name": name, "state": state}
        return past.points(self._app.database, period, by, given)

    # Queues

    def pause(self, *queues: str) -> None:
        """Let no task of these queues start, on any worker, until they are resumed; running ones go on."""
        store.pause(self._app.database, queues)

    def resume(self, *queues: str) -> None:
        """Let the tasks of these queues start again."""
        store.resume(self._app.database, queues)

    def purge(self, *queues: str) -> int:
        """Delete all tasks of these queues that wait or are held, and return their number; running ones go on."""
        return store.purge(self._app.database, queues).deleted

    # Changes

    def where(self, **filter: Any) -> Selection:
        """Return all tasks that match, for an action on them; the arguments are the conditions of ``tasks``::

        app.inspector.where(queue="mail", state="FAILURE", error="SMTPException").replay()
        """
        return Selection(
            self._app, filters.filter_of({name: value for name, value in filter.items() if value is not None})
        )

    def run_now(self, task_id: str) -> Done:
        """Make a task for later due at once.

        This and the actions below raise ``TaskNotFound``, and ``WrongState`` for a task for whose state the action is
        not made.
        """
        return self._on_one(task_id, actions.run_now())

    def revoke(self, task_id: str, *, terminate: bool = False, signal: str = "SIGTERM") -> Done:
        """End a task as REVOKED. One that runs ends with ``terminate``; without it, it only starts no more."""
        return self._on_one(task_id, actions.revoke(terminate=terminate, signal=signal))

    def delete(self, task_id: str, *, cascade: bool = False) -> Done:
        """Delete a task or its outcome for good. If others wait for it, ``cascade`` has it counted as revoked."""
        return self._on_one(task_id, actions.delete(cascade=cascade))

    def replay(self, task_id: str, *, state: str | Sequence[str] | None = None) -> Done:
        """Let a finished task start again, under its id: its outcome so far becomes one of its attempts.

        ``state`` allows only tasks of this state, or these; by default all but successes can be replayed. Its retries
        and crashes count from 0, and it does not expire. The steps behind it in its chain come again. A chord's body
        that failed because of it waits again; one that has started does not start again.
        """
        return self._on_one(task_id, actions.replay(state=state))

    def move(self, task_id: str, queue: str) -> Done:
        """Put a task that waits or is held on another queue."""
        return self._on_one(task_id, actions.move(self._app, queue))

    def reprioritise(self, task_id: str, priority: int) -> Done:
        """Give a task that waits or is held another priority."""
        return self._on_one(task_id, actions.reprioritise(priority))

    def reschedule(self, task_id: str, eta: dt.datetime | dt.timedelta) -> Done:
        """Let a task that waits or is held start no earlier than at this time, or so long from now."""
        return self._on_one(task_id, actions.reschedule(eta))

    def _on_one(self, task_id: str, action: actions.Action) -> Done:
        return actions.on_one(self._app.database, task_id, action)
