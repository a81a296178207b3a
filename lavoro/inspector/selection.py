"""The tasks that a filter matches, for actions on all of them: in batches, with progress, and from a cursor on."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from lavoro.exceptions import ActionInterrupted, InspectorError, LavoroError
from lavoro.inspector import actions, filters
from lavoro.inspector.actions import Action
from lavoro.inspector.listing import MOST, listed
from lavoro.inspector.values import Count, Preview, Report
from lavoro.store import browsing
from lavoro.store.browsing import STAGES, Filter, Key
from lavoro.store.changing import Acted
from lavoro.text.plural import counted

Progress = Callable[[Report], object]
BATCH = 500
"""Tasks of one transaction: other work waits for its locks, and for its flush of the log."""
READ = 5_000
"""Most tasks whose ids are read at once."""


class Selection:
    """All tasks that match; nothing is read before an action.

    An action goes from the oldest task to the newest. It meets each task once, and those that are sent meanwhile. Each
    batch is a transaction; ``progress`` is called with a ``Report`` after each. After an error, ``ActionInterrupted``
    has the report of what was done; after Ctrl-C it is in ``report``. Its cursor goes on: ``cursor=report.cursor``.
    """

    def __init__(self, app: Any, wanted: Filter) -> None:
        self._app, self._wanted = app, wanted
        self.report: Report | None = None
        """That of the last action."""

    def count(self) -> Count:
        """Return how many tasks match. Of each table 100,000 rows are read; with more, it is an estimate."""
        return Count(*browsing.number(self._app.database, self._wanted))

    def preview(self, examples: int = 10) -> Preview:
        """Return how many tasks match, and the oldest of them."""
        limit = filters.limit_of(examples, MOST)
        page = listed(self._app.database, self._wanted, order="oldest", limit=limit, after=None)
        return Preview(self.count(), page.items)

    def run_now(self, **how: Any) -> Report:
        """Make tasks for later due at once; ``batch``, ``progress`` and ``cursor`` are those of ``revoke``."""
        return self._act(actions.run_now(), **how)

    def revoke(self, *, terminate: bool = False, signal: str = "SIGTERM", **how: Any) -> Report:
        """End tasks as REVOKED. Those that run end with ``terminate``; without it, they only start no more.

        ``batch`` is the number of tasks in a transaction, ``progress`` is called after each, ``cursor`` is where an
        earlier action ended early.
        """
        return self._act(actions.revoke(terminate=terminate, signal=signal), **how)

    def delete(self, *, cascade: bool = False, **how: Any) -> Report:
        """Delete tasks and outcomes for good; running tasks stay, and so do awaited ones without ``cascade``."""
        return self._act(actions.delete(cascade=cascade), **how)

    def replay(self, *, state: str | Sequence[str] | None = None, **how: Any) -> Report:
        """Let finished tasks start again: by default all but successes."""
        return self._act(actions.replay(state=state), **how)

    def move(self, queue: str, **how: Any) -> Report:
        """Put tasks that wait or are held on another queue."""
        return self._act(actions.move(self._app, queue), **how)

    def reprioritise(self, priority: int, **how: Any) -> Report:
        """Give tasks that wait or are held another priority."""
        return self._act(actions.reprioritise(priority), **how)

    def reschedule(self, eta: dt.datetime | dt.timedelta, **how: Any) -> Report:
        """Let tasks that wait or are held start no earlier than at this time, or so long from now."""
        return self._act(actions.reschedule(eta), **how)

    def _act(
        self, action: Action, *, batch: int = BATCH, progress: Progress | None = None, cursor: str | None = None
    ) -> Report:
        limit, after = filters.limit_of(batch, MOST), filters.key_of("oldest", cursor)
        wanted, database = self._within(action), self._app.database
        report = self.report = Report(action.name, cursor=cursor)
        begin = time.monotonic()
        try:
            while not report.complete:
                ids, after = browsing.oldest(database, wanted, limit=READ, after=after)
                for first in range(0, max(len(ids), 1), limit):
                    chosen = ids[first : first + limit]
                    with database.tx() as tx:
                        acted = action.run(tx, chosen) if chosen else Acted(frozenset())
                    over = first + limit >= len(ids)
                    reached = after if over else Key(chosen[-1])
                    report = self.report = replace(
                        _plus(report, chosen, acted), cursor=filters.cursor_of("oldest", reached),
                        complete=over and after is None, seconds=time.monotonic() - begin,
                    )  # fmt: skip
                    if progress is not None:
                        progress(report)
        except LavoroError as error:
            stopped = ActionInterrupted(
                f"{action.name} ended early: {counted(report.done, 'task')} {action.past}; go on with"
                f" cursor={report.cursor!r}: {error}"
            )
            stopped.report = report
            raise stopped from error
        return report

    def _within(self, action: Action) -> Filter:
        """Return the filter, without the tasks that the action cannot change."""
        stages = tuple(stage for stage in self._wanted.stages or STAGES if stage in action.stages)
        if not stages:
            raise InspectorError(
                f"cannot {action.verb} tasks of the stage {', '.join(self._wanted.stages)}: {action.advice}"
            )
        return replace(self._wanted, stages=stages, states=self._wanted.states or action.states)


def _plus(report: Report, ids: Sequence[uuid.UUID], acted: Acted) -> Report:
    """Add a batch to a report."""
    reached = len(acted.done) + len(acted.asked) + len(acted.awaited)
    return replace(
        report, done=report.done + len(acted.done), asked=report.asked + len(acted.asked),
        awaited=report.awaited + len(acted.awaited), skipped=report.skipped + len(ids) - reached,
    )  # fmt: skip
