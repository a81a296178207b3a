"""Schedules for people: lists and changes them, and tells what they did and what is wrong with them."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from lavoro import serialization
from lavoro.store.schedules import Row
from lavoro.store.tx import Tx

LATE = 60.0
"""Seconds after which a tick that has not come is a problem."""


class StoredSchedule(NamedTuple):
    """A schedule as the database has it."""

    name: str
    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    timing: str
    """A crontab or a phrase."""
    zone: str | None
    """None: the application's."""
    in_code: bool
    """Its times or arguments are Python objects, which only the code has."""
    missed: str
    missed_most: int
    missed_age: float | None
    overlap: str
    jitter: float
    starts_at: dt.datetime | None
    ends_at: dt.datetime | None
    most_runs: int | None
    origin: str
    """``code``, ``api`` or ``sql``."""
    app: str | None
    """The application whose code or interface defined it."""
    paused_at: dt.datetime | None
    defined_at: dt.datetime
    since: dt.datetime
    """No tick before this time is caught up."""
    next_at: dt.datetime | None
    """The time of the next tick; None if none comes, or if a worker has to compute it first."""
    ended: bool
    """Whether no tick comes any more."""
    last_at: dt.datetime | None
    """The time of the last tick, sent or skipped."""
    last_task_id: uuid.UUID | None
    runs: int
    skips: int
    error: str | None

    @property
    def state(self) -> str:
        """One word: ``paused``, ``error``, ``ended``, ``new`` (its times are not computed yet), ``waiting``."""
        if self.paused_at is not None:
            return "paused"
        if self.error is not None:
            return "error"
        if self.ended:
            return "ended"
        return "new" if self.next_at is None else "waiting"


class LockedSchedule(NamedTuple):
    """A schedule whose row is locked until the transaction ends."""

    stored: StoredSchedule
    last_stage: str | None
    """The table that the task of the last tick is in, None if it has ended."""
    now: dt.datetime


class PastTick(NamedTuple):
    """A tick that was sent, skipped or failed, or several skipped ones that follow each other."""

    due_at: dt.datetime
    """Its nominal time; of several, the first."""
    until_at: dt.datetime | None
    """Of several, the last."""
    times: int | None
    """None: more than were counted."""
    outcome: str
    late: bool
    reason: str | None
    task_id: uuid.UUID | None
    recorded_at: dt.datetime


class Problem(NamedTuple):
    """A schedule that does not do what it should."""

    name: str
    task: str
    kind: str
    """``unserved``: no live worker sends schedules; ``unknown``: none knows its task; ``late``; ``error``."""
    late: float | None
    """Seconds for which a tick is late."""
    error: str | None
    origin: str
    """Where it is defined: ``code``, ``api`` or ``sql``."""

    @property
    def words(self) -> str:
        """The problem in words, without the name."""
        late = "" if self.late is None else f"is late by {self.late:,.0f} s"
        parts = {
            "unserved": f"{late}: no live worker sends the tasks of schedules",
            "unknown": f"{late or 'waits'}: no live worker knows its task {self.task!r}",
            "late": late,
            "error": f"has an error: {self.error}",
        }
        return parts[self.kind] if self.kind == "error" or not self.error else f"{parts[self.kind]}; {self.error}"


def listed(tx: Tx, names: Sequence[str] | None, *, after: str = "", limit: int | None = None) -> list[StoredSchedule]:
    """Return schedules by name, all or those named, that come after a name in the order."""
    parameters = {"names": None if names is None else list(names), "after": after, "limit": limit}
    return [_stored(row) for row in tx.run("list_schedules", parameters)]


def locked(tx: Tx, name: str) -> LockedSchedule | None:
    """Lock a schedule and return it, None if there is none."""
    row = tx.row("lock_schedules", {"names": [name]})
    return None if row is None else LockedSchedule(_stored(row[:-2]), *row[-2:])


def store(tx: Tx, row: Row, *, app: str | None, replace: bool, paused: bool) -> bool:
    """Store a schedule; False if there is one of that name and it is not to be replaced."""
    return bool(tx.run("store_schedule", {**row._asdict(), "app": app, "replace": replace, "paused": paused}))


def do(tx: Tx, statement: str, names: Sequence[str]) -> None:
    """Pause, resume or delete schedules, as the statement does."""
    tx.execute(statement, {"names": list(names)})


def history(tx: Tx, name: str, *, before: dt.datetime | None, limit: int) -> list[PastTick]:
    """Return the last ticks of a schedule, the latest first."""
    return [PastTick(*row) for row in tx.run("schedule_history", {"name": name, "before": before, "limit": limit})]


def problems(tx: Tx, *, late: float = LATE, limit: int | None = None) -> list[Problem]:
    """Return what is wrong with schedules, by their names."""
    return [Problem(*row) for row in tx.run("schedule_problems", {"late": late, "limit": limit})]


def forget_ticks(tx: Tx, *, kept: float) -> int:
    """Delete ticks that were recorded more than ``kept`` seconds ago; return how many."""
    forgotten = 0
    while found := len(tx.run("forget_ticks", {"kept": kept})):
        forgotten += found
    return forgotten


# A backfill


def sent(tx: Tx, name: str, first: dt.datetime, last: dt.datetime) -> set[dt.datetime]:
    """Return the times between two at which a schedule has sent its task."""
    return {row[0] for row in tx.run("sent_ticks", {"name": name, "first": first, "last": last})}


def skipped_beyond(tx: Tx, name: str, first: dt.datetime, last: dt.datetime) -> list[tuple[Any, ...]]:
    """Return the rows of skipped ticks that begin between two times and end later."""
    return tx.run("skipped_beyond", {"name": name, "first": first, "last": last})


def replace_ticks(
    tx: Tx, name: str, times: Sequence[dt.datetime], ids: Sequence[uuid.UUID | None], *, reason: str
) -> int:
    """Record late ticks with their tasks, in place of skipped ones; return how many had not been sent before."""
    parameters = {"name": name, "times": list(times), "ids": list(ids), "reason": reason}
    return len(tx.run("replace_ticks", parameters))


def note_run(tx: Tx, name: str, task_id: uuid.UUID | None) -> None:
    """Note the task of a run by hand."""
    tx.execute("note_run", {"name": name, "task_id": task_id})


def _stored(row: tuple[Any, ...]) -> StoredSchedule:
    return StoredSchedule._make((*row[:2], *decoded(*row[2:5]), *row[5:]))


class Call(NamedTuple):
    """The arguments and options of a schedule's calls."""

    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]


def decoded(args: str | None, kwargs: str | None, options: str | None) -> Call:
    """Read them from their texts."""
    read = [serialization.loads(text) if text else None for text in (args, kwargs, options)]
    return Call(list(read[0] or ()), dict(read[1] or {}), dict(read[2] or {}))
