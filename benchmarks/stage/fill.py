"""Fills Lavoro's tables with the rows that millions of calls would have left, in SQL, for calling takes too long."""

from __future__ import annotations

import itertools
from typing import Any

import psycopg

NOOP = "benchmarks.subjects.tasks.noop"
PIECE = 500_000

# Ids sort by number, as those of real calls sort by time; each filling begins a new range of them.
WAITING = """
insert into lavoro.waiting (id, queue, priority, due_at, name, args)
select (lpad(to_hex(%(range)s::int), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'celery', 0,
    clock_timestamp() + %(begin)s * interval '1 second' + (n - 1) * %(span)s::float8 / %(count)s * interval '1 second',
    %(name)s, '[0.0]'
from generate_series(%(first)s::bigint, %(last)s::bigint) as n"""

FINISHED = """
insert into lavoro.finished (id, state, queue, priority, attempt, retries, crashes, runtime, due_at, created_at,
    started_at, finished_at, name, args, result)
select (lpad(to_hex(%(range)s::int), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'SUCCESS',
    'celery', 0, 1, 0, 0, 0.001, t, t, t, t, %(name)s, '[0.0]', 'null'
from (select n, clock_timestamp() + %(begin)s * interval '1 second'
        + (n - 1) * %(span)s::float8 / %(count)s * interval '1 second' as t
    from generate_series(%(first)s::bigint, %(last)s::bigint) as n) x"""

_ranges = itertools.count(1)


def waiting(connection: psycopg.Connection[Any], count: int, *, begin: float = 0, span: float = 0) -> None:
    """Add waiting tasks, due from ``begin`` seconds from now on, over ``span`` seconds."""
    _fill(connection, WAITING, count, begin, span)


def finished(connection: psycopg.Connection[Any], count: int, *, begin: float, span: float) -> None:
    """Add tasks that succeeded ``begin`` seconds from now (a negative number), and over ``span`` seconds after that."""
    _fill(connection, FINISHED, count, begin, span)


def _fill(connection: psycopg.Connection[Any], statement: str, count: int, begin: float, span: float) -> None:
    fixed = {"range": next(_ranges), "begin": begin, "span": span, "count": count, "name": NOOP}
    for first in range(1, count + 1, PIECE):
        last = min(first + PIECE - 1, count)
        connection.execute(statement.encode(), {**fixed, "first": first, "last": last})


def settle(connection: psycopg.Connection[Any]) -> None:
    """Do what autovacuum and the checkpointer would do soon, so that they do not disturb a measurement."""
    connection.execute(b"vacuum (analyze) lavoro.waiting, lavoro.running, lavoro.finished")
    connection.execute(b"checkpoint")
