"""Runs of schedules that a person asks for: one now, and those of times that have passed."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Set
from typing import Any, NamedTuple

from lavoro.beat import dispatch, nominal
from lavoro.beat.planning import Planned, next_after
from lavoro.exceptions import ScheduleError
from lavoro.schedules.entry import OVERLAP, Entry
from lavoro.store import entries, schedules
from lavoro.store.entries import LockedSchedule, StoredSchedule
from lavoro.store.schedules import Tick
from lavoro.store.tx import Tx
from lavoro.store.uniques import Holders

BY_HAND, BACKFILLED = "run by hand", "backfilled"
_INSTANT = dt.timedelta(microseconds=1)


class Backfill(NamedTuple):
    """The ticks of a backfill."""

    times: list[dt.datetime]
    """The nominal times for which a task is sent, or would be."""
    already: int = 0
    """The number of times between for which it had been sent before."""
    results: tuple[Any, ...] = ()
    """The results of the tasks, by the times; none in a preview."""

    @classmethod
    def between(
        cls, app: Any, found: LockedSchedule, code: Entry | None, start: dt.datetime, end: dt.datetime, *, most: int
    ) -> Backfill:
        """Return all times between two; raises ``ScheduleError`` for more than ``most``."""
        schedule = nominal.schedule_as_stored(app, found.stored, code)
        times = list(itertools.islice(nominal.between(schedule, found.stored, start, end), most + 1))
        if len(times) > most:
            raise ScheduleError(
                f"the schedule {found.stored.name!r} has more than {most:,} times from {start.isoformat()} to"
                f" {end.isoformat()}: choose a shorter time, or allow more (most=..., --most)"
            )
        return cls(times)

    def without(self, sent: Set[dt.datetime]) -> Backfill:
        """Leave out the times for which the task has been sent."""
        left = [at for at in self.times if at not in sent]
        return Backfill(left, len(self.times) - len(left))


def run(app: Any, tx: Tx, found: LockedSchedule, code: Entry | None, *, overlap: str | None, shown: list[Any]) -> Any:
    """Send the task of a schedule now and record a tick; return the result."""
    rule = _rule(found.stored, overlap)
    meets = found.last_stage is not None and rule != "allow"
    if meets and (rule == "skip" or (rule == "queue" and found.last_stage == "held")):
        raise ScheduleError(
            f"the task of the last tick of {found.stored.name!r}, {found.stored.last_task_id}, has not ended: wait"
            " for it, or run the schedule with overlap='allow' (--overlap allow)"
        )
    name, at = found.stored.name, found.now
    planned = Planned(at, behind=meets and rule == "queue")
    result, outbox, id = dispatch.compose(app, found.stored, code, planned, found.stored.last_task_id)
    while not schedules.record(tx, [Tick(name, at, reason=BY_HAND, task_id=id)]):
        at += _INSTANT
    if meets and rule == "cancel":
        app.revoke(str(found.stored.last_task_id), terminate=True)
    _check_stored(app.publish(outbox.messages, connection=tx.connection, signed=True), name)
    if id is not None:
        entries.note_run(tx, name, id)
    shown += outbox.shown
    return result


def _check_stored(holders: Holders | None, name: str) -> None:
    """Raise ``ScheduleError`` if a task was not sent because another one holds its unique key."""
    for holder in (holders or {}).values():
        raise ScheduleError(f"the task of {name!r} is unique, and the task {holder} holds its key: wait for its end")


def backfill(
    app: Any, tx: Tx, found: LockedSchedule, code: Entry | None, wanted: Backfill, *, overlap: str | None,
    shown: list[Any],
) -> Backfill:  # fmt: skip
    """Send the tasks of past times and record their ticks, one task behind the other unless they may overlap."""
    stored, rule = found.stored, _rule(found.stored, overlap)
    last = stored.last_task_id if found.last_stage is not None else None
    results, ids, messages = [], [], []
    for at in wanted.times:
        planned = Planned(at, late=True, behind=rule != "allow")
        result, outbox, id = dispatch.compose(app, stored, code, planned, last)
        results.append(result)
        ids.append(id)
        last = id or last
        messages += outbox.messages
        shown += outbox.shown
    _keep_rest(app, tx, found, code, wanted)
    if entries.replace_ticks(tx, stored.name, wanted.times, ids, reason=BACKFILLED) < len(wanted.times):
        raise ScheduleError(f"ticks of {stored.name!r} were recorded by others at the same time: repeat the backfill")
    _check_stored(app.publish(messages, connection=tx.connection, signed=True), stored.name)
    if last is not None:
        entries.note_run(tx, stored.name, last)
    return wanted._replace(results=tuple(results))


def _keep_rest(app: Any, tx: Tx, found: LockedSchedule, code: Entry | None, wanted: Backfill) -> None:
    """Record anew the ticks after the backfill that one row of skipped ticks holds with some of its times."""
    first, last = wanted.times[0], wanted.times[-1]
    schedule = nominal.schedule_as_stored(app, found.stored, code)
    rest = next_after(schedule, last, found.now)
    for begins, until, times, reason in entries.skipped_beyond(tx, found.stored.name, first, last):
        if rest is None or rest > until or begins not in wanted.times:
            continue
        left = None if times is None else max(1, times - sum(at >= begins for at in wanted.times))
        schedules.record(tx, [Tick(found.stored.name, rest, until, left, "skipped", True, reason)])


def _rule(stored: StoredSchedule, given: str | None) -> str:
    if given is not None and given not in OVERLAP:
        raise ScheduleError(f"overlap must be one of {', '.join(OVERLAP)}, not {given!r}")
    return given or stored.overlap
