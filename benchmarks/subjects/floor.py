"""The floor: what PostgreSQL allows a task queue of three tables, asked in plain SQL without any worker around it."""

from __future__ import annotations

import itertools
import os
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import psycopg

from benchmarks.stage.meter import Cost, cost_of, in_threads
from benchmarks.stage.server import empty_database, held_snapshot
from benchmarks.values import Sample, Series, Setting, Step

SCHEMA = """
create table inbox (
    id uuid primary key, queue text not null, priority smallint not null default 0,
    due timestamptz not null default clock_timestamp(), name text not null, args json not null);
create index inbox_next on inbox (queue, priority desc, due);
create table active (
    id uuid primary key, worker_id bigint not null, attempt smallint not null, queue text not null,
    priority smallint not null, due timestamptz not null, name text not null, args json not null,
    started timestamptz not null default clock_timestamp());
create table archive (
    id uuid primary key, name text not null, state text not null, result json, worker_id bigint not null,
    started timestamptz not null, finished timestamptz not null default clock_timestamp());
"""

INSERT_ONE = "insert into inbox (id, queue, name, args) values (%s, 'floor', 'noop', '[1]')"
INSERT_TASK = """
insert into lavoro.waiting (id, queue, name, args) values (%s, 'celery', 'benchmarks.subjects.tasks.quiet', '[]')"""
INSERT_CALL = """
insert into lavoro.waiting (id, queue, priority, name, args, kwargs, options)
values (%s, %s, %s, %s, %s::json, %s::json, %s::json)"""
CALL = ("celery", 0, "benchmarks.subjects.tasks.quiet", "[1]", "{}", "{}")
"""What a call binds beside its id: the same row as Lavoro's, without Lavoro."""
INSERT_MANY = """
insert into inbox (id, queue, name, args) select given, 'floor', 'noop', '[1]' from unnest(%s::uuid[]) as x (given)"""

# The lower bound on `due` skips the dead index entries at the head, which a held snapshot keeps vacuum from cleaning.
CLAIM = """
with next as materialized (
    select ctid from inbox
    where queue = 'floor' and priority = 0 and due between %s and clock_timestamp()
    order by due limit %s for update skip locked),
moved as (delete from inbox using next where inbox.ctid = next.ctid returning inbox.*),
kept as (
    insert into active (id, worker_id, attempt, queue, priority, due, name, args)
    select id, 1, 1, queue, priority, due, name, args from moved)
select id, due, name, args::text from moved"""

# Looked up by array: as a join with unnest() it would become a scan of the whole index once statistics say "empty".
FINISH = """
with moved as (delete from active where id = any(%s::uuid[]) and worker_id = 1 returning id, name, started)
insert into archive (id, name, state, result, worker_id, started)
select id, name, 'SUCCESS', 'null', 1, started from moved"""

THREADS, BULK, BATCH = 32, 1000, 500
LAG = timedelta(seconds=0.02)
_counter = itertools.count()


def time_ordered_id() -> uuid.UUID:
    """Make an id that sorts by time, so that index inserts stay at the right edge."""
    tail = (os.getpid() & 0xFFFF) << 46 | next(_counter) & 0x3FFFFFFFFFFF
    return uuid.UUID(int=(time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | 0x2 << 62 | tail)


def _connect(dsn: str) -> psycopg.Connection:
    return psycopg.connect(dsn, autocommit=True)


def _ids(count: int, size: int) -> Iterator[list[uuid.UUID]]:
    for start in range(0, count, size):
        yield [time_ordered_id() for _ in range(min(size, count - start))]


def insert_each(
    connection: psycopg.Connection, count: int, statement: str = INSERT_ONE, values: tuple[object, ...] = ()
) -> None:
    """Insert rows in a commit each; ``values`` follow the id."""
    for _ in range(count):
        connection.execute(statement, (time_ordered_id(), *values))


def insert_batches(connection: psycopg.Connection, count: int, size: int = BULK) -> None:
    """Insert rows in batches, a statement and a commit each."""
    for ids in _ids(count, size):
        connection.execute(INSERT_MANY, (ids,))


def insert_one_by_one(dsn: str, count: int, *, threads: int = 1, statement: str = INSERT_ONE) -> Cost:
    """Insert rows in a commit each, from so many threads with a connection each."""
    each = max(1, count // threads)

    def prepare() -> Callable[[], None]:
        connection = _connect(dsn)

        def work() -> None:
            with connection:
                insert_each(connection, each, statement)

        return work

    return cost_of(dsn, each * threads, in_threads(threads, prepare))


def insert_in_bulk(dsn: str, count: int, size: int = BULK) -> Cost:
    """Insert rows in batches, a statement and a commit each, over one connection."""
    with _connect(dsn) as connection:
        return cost_of(dsn, count, lambda: insert_batches(connection, count, size))


def walk(dsn: str, count: int, size: int = BATCH) -> Cost:
    """Claim and finish ``count`` rows that are there already, in turns over one connection."""

    def work() -> None:
        bound, left = datetime(2000, 1, 1, tzinfo=timezone.utc), count
        while left > 0:
            rows = cursor.execute(CLAIM, (bound, size)).fetchall()
            if not rows:
                raise RuntimeError(f"the floor's inbox ran empty with {left} of {count} tasks still expected")
            cursor.execute(FINISH, ([row[0] for row in rows],))
            bound = min(row[1] for row in rows) - LAG
            left -= len(rows)

    with _connect(dsn) as connection:
        cursor = connection.cursor(binary=True)
        return cost_of(dsn, count, work)


def step(setting: Setting, figure: str, measure: Callable[[str], Cost]) -> Step:
    """Make a step that measures on the floor's tables in an empty database."""

    def run() -> list[Sample | Series]:
        with empty_database(setting.server) as dsn, _connect(dsn) as connection:
            connection.execute(SCHEMA)
            with held_snapshot(dsn, wanted=setting.pinned):
                return measure(dsn).samples("floor", figure)

    return run
