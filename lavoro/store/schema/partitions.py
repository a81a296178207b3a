"""Retention: makes partitions of ended tasks ahead of time and drops old ones, instead of deleting rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, TypeVar

from psycopg import errors as pg
from psycopg import sql

from lavoro.store.tx import Tx

T = TypeVar("T")

DAY = 86_400.0
DEFAULT_RETENTION = {"finished_success": DAY, "finished_failure": 30 * DAY, "attempt": 30 * DAY}
"""Seconds for which the rows of each partitioned table are kept."""

_AGE = {"finished_success": "finished_at", "finished_failure": "finished_at", "attempt": "ended_at"}
"""The column that tells how old a row is."""
_PATIENCE = "200ms"
"""The longest wait for a lock that makes all finishers wait too."""
_IDLE = "5s"
"""The server ends the session of a node that is stopped in the middle, so that it does not keep those locks."""
_STRAYS = 10_000
"""Most rows deleted at once of those that were not in any partition of their time."""

_DELETE_STRAYS = sql.SQL("""
    delete from {rest} where ctid = any (array(
        select ctid from {rest} where {age} < clock_timestamp() - %s limit %s for update skip locked))
""")
"""It stands here because it is composed: the name of a table cannot be a parameter."""


class Partition(NamedTuple):
    """One partition and the end of its time span."""

    name: str
    ends: dt.datetime


def period(retention: float) -> float:
    """Return how many seconds one partition spans: a quarter of the retention, between an hour and a week."""
    return min(max(retention / 4, 3600.0), 7 * DAY)


def partitions_of(tx: Tx, table: str) -> list[Partition]:
    """List the partitions of a table, oldest first, without the one for all other rows."""
    return [Partition(*row) for row in tx.run("list_partitions", {"table": table})]


def make_ahead(tx: Tx, retention: Mapping[str, float] = DEFAULT_RETENTION) -> list[str]:
    """Make the partitions for now and the time after, two periods at least; return the names of new ones.

    A table on which a session holds a lock for long is left for the next time: there are two periods to try again.
    """
    made: list[str] = []
    for table, seconds in retention.items():
        span = dt.timedelta(seconds=period(seconds))
        made += _briefly(tx, partial(_make_ahead_of, tx, table, span)) or []
    return made


def _make_ahead_of(tx: Tx, table: str, span: dt.timedelta) -> list[str]:
    now = _database_now(tx)
    existing, made = partitions_of(tx, table), []
    begins = max(existing[-1].ends, _floor(now, span)) if existing else _floor(now, span)
    while begins < now + 2 * span:
        if name := make(tx, table, begins, begins + span):
            made.append(name)
            begins += span
        elif begins <= now:
            begins = _floor(now, span) + span  # there are rows of this time already, outside of any partition
        else:
            break
    return made


def make(tx: Tx, table: str, begins: dt.datetime, ends: dt.datetime) -> str | None:
    """Make one partition; None if there are rows already that would belong into it."""
    row = tx.row("attach_partition", {"kind": table, "begins": begins, "ends": ends})
    return row[0] if row else None


def drop_behind(tx: Tx, retention: Mapping[str, float | None]) -> list[str]:
    """Drop the partitions whose rows are all older than their table's retention; None keeps for ever.

    Waits only briefly for the lock: a partition that is being read is dropped the next time.
    """
    dropped: list[str] = []
    for table, seconds in retention.items():
        if seconds is not None:
            dropped += _drop_behind(tx, table, dt.timedelta(seconds=seconds))
    return dropped


def _drop_behind(tx: Tx, table: str, retention: dt.timedelta) -> list[str]:
    dropped: list[str] = []
    while name := _briefly(tx, partial(_drop_oldest, tx, table, retention)):
        dropped.append(name)
    names = {"rest": sql.Identifier(tx.schema, f"{table}_rest"), "age": sql.Identifier(_AGE[table])}
    tx.connection.execute(_DELETE_STRAYS.format(**names), (retention, _STRAYS))
    return dropped


def _drop_oldest(tx: Tx, table: str, retention: dt.timedelta) -> str | None:
    """Drop the oldest partition if it is too old; searched anew each time: another node may have been faster."""
    oldest = next(iter(partitions_of(tx, table)), None)
    if oldest is None or oldest.ends >= _database_now(tx) - retention:
        return None
    tx.run("drop_old_partition", {"name": oldest.name})
    return oldest.name


def _briefly(tx: Tx, action: Callable[[], T]) -> T | None:
    """Call a function in a transaction, one node at a time; None if the locks could not be had soon."""
    try:
        with tx.short_locks(_PATIENCE, idle=_IDLE):
            tx.connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{tx.schema}_partitions",))
            return action()
    except pg.LockNotAvailable:
        return None


def _floor(now: dt.datetime, span: dt.timedelta) -> dt.datetime:
    epoch = dt.datetime(2000, 1, 3, tzinfo=dt.timezone.utc)  # a Monday, so that weeks begin on one
    return epoch + (now - epoch) // span * span


def _database_now(tx: Tx) -> dt.datetime:
    row = tx.cursor.execute("select clock_timestamp()").fetchone()
    assert row is not None
    return row[0].astimezone(dt.timezone.utc)  # type: ignore[no-any-return]
