"""The state of the database: sizes, partitions, sessions, locks, and the oldest snapshot."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, NamedTuple

from lavoro.store.statements import read, render, without_comments
from lavoro.store.tx import Row, Tx

_QUERIES = read(Path(__file__).parent)
PARTITIONED = ("finished_success", "finished_failure", "attempt")
"""The tables that have partitions."""


class TableSize(NamedTuple):
    """A table or a partition."""

    name: str
    partition_of: str | None
    rows: int
    """As PostgreSQL counts them: about right."""
    dead: int
    """Rows that were changed or deleted, and that vacuum has not removed."""
    size: int
    """Bytes, with indexes; of a table that another session locks, those of the last vacuum."""
    indexes: int
    vacuumed: dt.datetime | None


class Partition(NamedTuple):
    """A partition, with the end of its span of time."""

    table: str
    name: str
    ends: dt.datetime | None


class Session(NamedTuple):
    """A connection to the database."""

    pid: int
    user: str
    application: str
    host: str | None
    state: str
    waits_for: str | None
    seconds: float
    """Of its transaction; without one, since its last."""
    blocked_by: list[int]
    """The sessions whose locks it waits for."""
    query: str


class DatabaseState(NamedTuple):
    """All that is known of the database."""

    server: str
    size: int
    connections: int
    most_connections: int
    oldest_snapshot: float | None
    """Seconds for which a transaction keeps vacuum from removing rows."""
    oldest_session: int | None
    tables: list[TableSize]
    partitions: list[Partition]
    sessions: list[Session]


def look_at(tx: Tx) -> DatabaseState:
    """Ask the database about itself; the sessions of other users show less to a user without pg_read_all_stats."""
    [overview] = _rows(tx, "snapshot")
    tables = [TableSize._make(row) for row in _rows(tx, "sizes", schema=tx.schema)]
    partitions = [
        Partition(table, *row) for table in PARTITIONED for row in tx.run("list_partitions", {"table": table})
    ]
    sessions = [Session._make(row) for row in _rows(tx, "sessions")]
    return DatabaseState._make((*overview, tables, partitions, sessions))


def _rows(tx: Tx, query: str, **parameters: Any) -> list[Row]:
    text = render(without_comments(_QUERIES[query]), tx.schema).encode()
    return tx.cursor.execute(text, parameters).fetchall()
