"""The history: how many tasks ended in each minute, hour and day, which one node counts for all."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from lavoro import states
from lavoro.store.database import Database
from lavoro.store.errors import translated
from lavoro.store.schema.tables import tables_of
from lavoro.store.tx import Tx

DAY = 86_400.0
PERIODS = {"minute": 60, "hour": 3600, "day": 86_400}
"""The periods with their seconds."""
KEPT = {"minute": 2 * DAY, "hour": 90 * DAY, "day": 90 * DAY}
"""The seconds for which each period is kept."""
EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.timezone.utc)
"""The beginning of one minute, hour and day."""
SUCCESSES = (states.SUCCESS, states.IGNORED)
"""The states of tasks that did not fail."""
_LOCKS, _IDLE = "2s", "5s"
"""The longest wait for a lock; and the time after which the server ends the session of a node that is stopped."""


class Counted(NamedTuple):
    """The effect of one count."""

    begins: dt.datetime | None
    """The first minute that was counted; None: there was nothing to count."""
    ends: dt.datetime | None
    changed: int
    """Rows of the history that were made or changed."""
    more: bool
    """Whether minutes are left that are over."""
    wait: float
    """Seconds until the present minute is over."""


@dataclass(frozen=True)
class Wanted:
    """A part of the history; an empty tuple or None is no condition."""

    period: str
    since: dt.datetime
    until: dt.datetime
    queues: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    name: str | None = None
    """A pattern of SQL's ``like``."""
    by: str | None = None
    """``queue`` or ``name``: sums for each of these; None: over all."""


class Sums(NamedTuple):
    """The tasks that ended in one period with one state."""

    at: dt.datetime
    group: str | None
    """The queue or the name."""
    state: str
    tasks: int
    retries: int
    crashes: int
    runtime: float
    waited: float
    longest: float


def count(tx: Tx, *, minutes: int = 1) -> Counted | None:
    """Count up to so many minutes that are over, and the last counted one again; None: another node counts.

    The hours and days that these lie in are summed anew, in the same transaction.
    """
    with tx.short_locks(_LOCKS, idle=_IDLE):
        row = tx.row("count_history", {"minutes": minutes})
        if row is None:
            return None
        counted = Counted._make(row)
        if counted.changed:
            for shorter, longer in (("minute", "hour"), ("hour", "day")):
                parameters = {"shorter": shorter, "longer": longer, "seconds": PERIODS[longer]}
                tx.run("sum_history", {**parameters, "begins": counted.begins, "ends": counted.ends})
    return counted


def forget(tx: Tx) -> None:
    """Delete the periods that are too old."""
    tx.run("forget_history", {"minutes": KEPT["minute"], "longer": KEPT["hour"]})


def read(database: Database, wanted: Wanted) -> list[Sums]:
    """Return the sums of each period, in the order of time."""
    c = tables_of(database.schema).history.c
    group: Any = sa.cast(sa.null(), sa.Text) if wanted.by is None else c[wanted.by]
    found = sa.select(
        c.bucket, group, c.state,
        *(sa.cast(sa.func.sum(c[name]), sa.BigInteger) for name in ("tasks", "retries", "crashes")),
        sa.func.sum(c.runtime), sa.func.sum(c.waited), sa.func.max(c.longest),
    ).where(c.period == wanted.period, c.bucket >= wanted.since, c.bucket < wanted.until)  # fmt: skip
    if wanted.queues:
        found = found.where(c.queue.in_(wanted.queues))
    if wanted.states:
        found = found.where(c.state.in_(wanted.states))
    if wanted.name is not None:
        found = found.where(c.name.like(wanted.name))
    keys = [c.bucket, c.state] if wanted.by is None else [c.bucket, group, c.state]
    with translated(), database.engine.connect() as connection:
        return [Sums._make(row) for row in connection.execute(found.group_by(*keys).order_by(*keys))]


def counted_until(database: Database) -> dt.datetime:
    """Return the time before which all minutes are counted."""
    mark = tables_of(database.schema).history_mark.c
    with translated(), database.engine.connect() as connection:
        until: dt.datetime = connection.execute(sa.select(mark.until)).scalar_one()
        return until


def lately(database: Database) -> dict[str, tuple[int, int, int, int]]:
    """Return the tasks that ended in the last counted minute, those that failed, and both for an hour, by queue."""
    tables = tables_of(database.schema)
    c, until = tables.history.c, sa.select(tables.history_mark.c.until).scalar_subquery()
    last = c.bucket >= until - dt.timedelta(minutes=1)
    failed = c.state.not_in(SUCCESSES)
    sums = [
        sa.func.sum(c.tasks).filter(*conditions) for conditions in ((last,), (last, failed), (sa.true(),), (failed,))
    ]
    found = sa.select(c.queue, *(sa.cast(sa.func.coalesce(each, 0), sa.BigInteger) for each in sums)).where(
        c.period == "minute", c.bucket >= until - dt.timedelta(hours=1), c.bucket < until
    )
    with translated(), database.engine.connect() as connection:
        return {queue: tuple(numbers) for queue, *numbers in connection.execute(found.group_by(c.queue))}
