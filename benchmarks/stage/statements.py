"""Asks pg_stat_statements what the server did, statement by statement."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import click
import psycopg

from lavoro.store.statements import FOLDER, statement

LIBRARY = "pg_stat_statements"
OTHERS = "others"

_PLANNING = "alter database {} set pg_stat_statements.track_planning = on"
_READ = """
select query, calls, total_exec_time + total_plan_time, rows, wal_bytes::float8 from pg_stat_statements
where dbid = (select oid from pg_database where datname = current_database())"""
_VALUE = re.compile(r"'[^']*'|%\(\w+\)s|\$\d+|\b(?:true|false|null|epoch)\b|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class Used:
    """What all calls of a statement took: seconds of planning and running (not of the commit), rows, bytes of log."""

    name: str
    calls: int
    seconds: float
    rows: int
    wal: float


class Statements:
    """Counts what the sessions that begin from now on send to a database; nothing where the library is missing."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.counting = True
        try:
            connection.execute(f"create extension if not exists {LIBRARY}".encode())
            connection.execute(_PLANNING.format(connection.info.dbname).encode())
            connection.execute(_READ.encode())
        except psycopg.Error as error:
            self.counting = False
            click.echo(f"skipped: what the server did, for it does not run {LIBRARY}: {error}", err=True)

    def reset(self) -> None:
        """Begin to count anew."""
        if self.counting:
            self.connection.execute(f"select {LIBRARY}_reset()".encode())

    def read(self) -> list[Used]:
        """Return what was counted, the longest first; what is none of Lavoro's statements is one sum."""
        sums: dict[str, list[float]] = defaultdict(lambda: [0.0] * 4)
        for query, *numbers in self.connection.execute(_READ.encode()).fetchall() if self.counting else ():
            name = _names().get(_words(query), OTHERS)
            sums[name] = [old + new for old, new in zip(sums[name], numbers, strict=True)]
        found = [Used(name, int(calls), time / 1e3, int(rows), wal) for name, (calls, time, rows, wal) in sums.items()]
        return sorted(found, key=lambda used: used.seconds, reverse=True)


@lru_cache(maxsize=1)
def _names() -> dict[tuple[str, ...], str]:
    return {_words(statement(file.stem)): file.stem for file in FOLDER.glob("*.sql")}


def _words(query: str) -> tuple[str, ...]:
    """What is left of a statement when the server has put parameters where values were."""
    return tuple(re.findall(r"[a-z_]\w*", _VALUE.sub(" ", query)))
