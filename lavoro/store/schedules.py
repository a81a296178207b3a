"""Schedules and their ticks in the database."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from lavoro.store import workers
from lavoro.store.tx import Tx

LOCK = "select pg_advisory_xact_lock(hashtextextended(%s, 0))"


class Served(NamedTuple):
    """The schedules that a process can run: those of tasks that it knows, and of its code alone by their names."""

    tasks: list[str]
    own: list[str]


class Due(NamedTuple):
    """A schedule that is due, as its row has it; it is locked until the transaction ends."""

    name: str
    task: str
    args: str | None
    kwargs: str | None
    options: str | None
    timing: str
    zone: str | None
    in_code: bool
    missed: str
    missed_most: int
    missed_age: float | None
    overlap: str
    jitter: float
    starts_at: dt.datetime | None
    ends_at: dt.datetime | None
    most_runs: int | None
    next_at: dt.datetime | None
    """The time of its next tick; None: it has to be computed."""
    due_at: dt.datetime | None
    """The same with the jitter; in the past if it has to be computed."""
    since: dt.datetime
    runs: int
    last_task_id: uuid.UUID | None
    last_stage: str | None
    """The table that the task of the last tick is in, None if it has ended."""
    now: dt.datetime


class Tick(NamedTuple):
    """A tick, or several skipped ones that follow each other."""

    schedule: str
    due_at: dt.datetime
    until_at: dt.datetime | None = None
    times: int | None = 1
    outcome: str = "sent"
    late: bool = False
    reason: str | None = None
    task_id: uuid.UUID | None = None


class Advance(NamedTuple):
    """The changes to a schedule after its ticks."""

    name: str
    next_at: dt.datetime | None
    due_at: dt.datetime | None
    last_at: dt.datetime | None = None
    last_task_id: uuid.UUID | None = None
    runs: int = 0
    skips: int = 0
    error: str | None = None


class Row(NamedTuple):
    """A schedule as the code of an application defines it."""

    name: str
    task: str
    args: str | None
    kwargs: str | None
    options: str | None
    timing: str
    zone: str | None
    in_code: bool
    missed: str
    missed_most: int
    missed_age: float | None
    overlap: str
    jitter: float
    starts_at: dt.datetime | None
    ends_at: dt.datetime | None
    most_runs: int | None


AHEAD = 0.8
"""Seconds before its time for which a tick is stored: its task has that time as ETA, and starts without delay.

It is also the longest time for which a change of a schedule has no effect.
"""


def due(tx: Tx, served: Served, *, limit: int) -> list[Due]:
    """Lock the schedules whose ticks are to be stored now; those that another worker has locked are passed over."""
    return [Due(*row) for row in tx.run("due_schedules", {**served._asdict(), "ahead": AHEAD, "limit": limit})]


class Coming(NamedTuple):
    """The seconds until schedules are due; None if none is."""

    first: float | None
    """The next one: within `AHEAD` it waits for its time, or is locked."""
    later: float | None
    """The next one beyond `AHEAD`."""


def coming(tx: Tx, served: Served) -> Coming:
    """Return when the next ticks of these schedules come."""
    row = tx.row("next_schedule", {**served._asdict(), "ahead": AHEAD})
    assert row is not None
    return Coming(*row)


def record(tx: Tx, ticks: Sequence[Tick]) -> set[tuple[str, dt.datetime]]:
    """Record ticks; return those that no worker had recorded before, by schedule and time."""
    return {(row[0], row[1]) for row in tx.run("record_ticks", _columns(Tick, ticks))} if ticks else set()


def advance(tx: Tx, advances: Sequence[Advance]) -> None:
    """Note the ticks of schedules, and when the next ones come."""
    tx.execute("advance_schedules", _columns(Advance, advances))


class Defined(NamedTuple):
    """The changes that the definitions of an application have made, by the names of schedules."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    ceded: Sequence[str] = ()
    """Those that are not stored, because a process runs them with a scheduler class."""


def define(tx: Tx, app: str, rows: Sequence[Row], *, kept: Sequence[str]) -> Defined:
    """Store the schedules that the code of an application defines, and delete those that it defines no longer.

    ``kept`` are the names that stay, among them those of entries that cannot be read.
    """
    with tx.connection.transaction():
        tx.connection.execute(LOCK, (f"{tx.schema}_schedules",))
        ceded = list(kept) if workers.leader_of(tx, leadership(app)) else []
        rows, kept = ([], []) if ceded else (rows, kept)
        stored = tx.run("define_schedules", {**_columns(Row, rows), "app": app}) if rows else []
        removed = tx.run("drop_schedules", {"app": app, "kept": list(kept)})
    added = [name for name, new in stored if new]
    return Defined(added, [name for name, new in stored if not new], [row[0] for row in removed], ceded)


# One process alone, with a scheduler class


class State(NamedTuple):
    """The runs of an entry of a scheduler class."""

    name: str
    last_at: dt.datetime
    runs: int


def leadership(app: str) -> str:
    """Return the name under which one process leads that runs an application's scheduler class."""
    return f"scheduler of {app}"


def lead(tx: Tx, app: str, *, holder: str, seconds: float) -> int | None:
    """Let one process run an application's scheduler class; return its term, None if another does.

    The schedules of the application's code are deleted: the class runs them.
    """
    with tx.connection.transaction():
        tx.connection.execute(LOCK, (f"{tx.schema}_schedules",))
        term = workers.acquire_leadership(tx, leadership(app), holder=holder, seconds=seconds)
        if term is not None:
            tx.run("drop_schedules", {"app": app, "kept": []})
    return term


def states(tx: Tx, app: str) -> list[State]:
    """Return the runs of the entries of an application's scheduler class."""
    return [State(*row) for row in tx.run("scheduler_entries", {"app": app})]


def keep_states(tx: Tx, app: str, kept: Sequence[State]) -> None:
    """Store runs of entries."""
    tx.execute("keep_scheduler_entries", {**_columns(State, kept), "app": app})


def forget_states(tx: Tx, app: str, names: Sequence[str]) -> None:
    """Drop the runs of entries that are gone."""
    tx.execute("forget_scheduler_entries", {"app": app, "names": list(names)})


def _columns(kind: Any, rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """Return the columns of rows, each as a list."""
    return {name: [row[place] for row in rows] for place, name in enumerate(kind._fields)}
