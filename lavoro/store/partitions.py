"""Retention: partitions of what is over are made ahead and dropped behind, never emptied row by row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import NamedTuple

from psycopg import errors as pg
from psycopg import sql

from lavoro.store.database import Tx

DAY = 86_400.0
DEFAULT_RETENTION = {"finished_success": DAY, "finished_failure": 30 * DAY, "attempt": 30 * DAY}
"""Seconds for which the rows of each partitioned table are kept."""

_BOUNDS = r"FOR VALUES FROM \('([^']+)'\) TO \('([^']+)'\)"
_LIST = sql.SQL("""
    select c.relname, substring(pg_get_expr(c.relpartbound, c.oid) from {pattern})::timestamptz as ends
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = %s::regclass and pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'
    order by ends
""")


class Partition(NamedTuple):
    """One partition and the end of the time it holds."""

    name: str
    ends: dt.datetime


def period(retention: float) -> float:
    """Return how many seconds one partition spans: a quarter of the retention, between an hour and a week."""
    return min(max(retention / 4, 3600.0), 7 * DAY)


def partitions_of(tx: Tx, table: str) -> list[Partition]:
    """List the partitions of a table, oldest first, without the one that takes what fits nowhere else."""
    query = _LIST.format(pattern=sql.Literal(_BOUNDS.replace(r"\('([^']+)'\) TO", r"\('[^']+'\) TO")))
    return [Partition(*row) for row in tx.connection.execute(query, (f'"{tx.schema}"."{table}"',)).fetchall()]


def make_ahead(tx: Tx, retention: Mapping[str, float] = DEFAULT_RETENTION) -> list[str]:
    """Make the partitions for now and the time after, two periods at least; return the names of new ones."""
    made = []
    for table, seconds in retention.items():
        made += _make_ahead_of(tx, table, dt.timedelta(seconds=period(seconds)))
    return made


def _make_ahead_of(tx: Tx, table: str, span: dt.timedelta) -> list[str]:
    now = _database_now(tx)
    existing, made = partitions_of(tx, table), []
    ends = max(existing[-1].ends, now - span) if existing else _floor(now, span)
    while ends < now + 2 * span:
        made.append(_make(tx, table, ends, ends + span))
        ends += span
    return made


def _make(tx: Tx, table: str, begins: dt.datetime, ends: dt.datetime) -> str:
    name = f"{table}_{begins:%Y%m%dt%H%M%S}"
    tx.connection.execute(
        sql.SQL("create table if not exists {} partition of {} for values from ({}) to ({})").format(
            sql.Identifier(tx.schema, name), sql.Identifier(tx.schema, table), begins.isoformat(), ends.isoformat()
        )
    )
    return name


def drop_behind(tx: Tx, retention: Mapping[str, float | None]) -> list[str]:
    """Drop the partitions whose rows are all older than their table's retention; None keeps for ever.

    Waits only briefly for the lock: a partition that is being read is dropped the next time.
    """
    now, dropped = _database_now(tx), []
    for table, seconds in retention.items():
        for partition in partitions_of(tx, table):
            if seconds is not None and partition.ends < now - dt.timedelta(seconds=seconds) and _drop(tx, partition.name):
                dropped.append(partition.name)
    return dropped


def _drop(tx: Tx, name: str) -> bool:
    try:
        with tx.connection.transaction():
            tx.connection.execute("set local lock_timeout = '200ms'")
            tx.connection.execute(sql.SQL("drop table {}").format(sql.Identifier(tx.schema, name)))
    except pg.LockNotAvailable:
        return False
    return True


def _floor(now: dt.datetime, span: dt.timedelta) -> dt.datetime:
    epoch = dt.datetime(2000, 1, 3, tzinfo=dt.timezone.utc)  # a Monday, so that weeks begin on one
    return epoch + (now - epoch) // span * span


def _database_now(tx: Tx) -> dt.datetime:
    row = tx.connection.execute("select clock_timestamp()").fetchone()
    assert row is not None
    return row[0].astimezone(dt.timezone.utc)  # type: ignore[no-any-return]
