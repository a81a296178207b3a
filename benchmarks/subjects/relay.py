"""The floor of latency in plain SQL: inserts that notify, and a process that listens, claims and finishes."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timezone

import click

from benchmarks.stage.hits import record
from benchmarks.stage.server import connect
from benchmarks.subjects.floor import CLAIM, SCHEMA, time_ordered_id
from benchmarks.subjects.produce import pace

SEND = """
with sent as (insert into inbox (id, queue, name, args) values (%s, 'floor', 'noop', %s))
select pg_notify('floor', '')"""
DONE = """
with moved as (delete from active where id = any(%s::uuid[]) and worker_id = 1 returning id, name, started),
kept as (
    insert into archive (id, name, state, result, worker_id, started)
    select id, name, 'SUCCESS', 'null', 1, started from moved)
select pg_notify('done', '')"""
RESULT = "select state, result::text from archive where id = %s"
FIRST = datetime(2000, 1, 1, tzinfo=timezone.utc)


@click.group()
def main() -> None:
    """Send, or start what was sent, at the database of BENCHMARKS_DSN."""


@main.command()
@click.option("--finish", is_flag=True, help="Store a result for every row, and notify.")
def work(*, finish: bool) -> None:
    """Make the tables, then record the delay of every row until told to stop."""
    dsn = os.environ["BENCHMARKS_DSN"]
    with connect(dsn) as listening, connect(dsn) as claiming:
        claiming.execute(SCHEMA.encode())
        listening.execute("listen floor")
        record(0)  # ready
        cursor = claiming.cursor(binary=True)
        while True:
            for _ in listening.notifies(stop_after=1):
                rows = cursor.execute(CLAIM.encode(), (FIRST, 100)).fetchall()
                for row in rows:
                    record(json.loads(row[3])[0])
                if finish and rows:
                    cursor.execute(DONE.encode(), ([row[0] for row in rows],))


@main.command()
@click.argument("count", type=int)
@click.argument("rate", type=float)
def send(count: int, rate: float) -> None:
    """Insert COUNT rows, RATE a second."""
    with connect(os.environ["BENCHMARKS_DSN"]) as connection:
        for _ in pace(count, rate):
            connection.execute(SEND.encode(), (time_ordered_id(), json.dumps([time.time()])))


@main.command()
@click.argument("count", type=int)
def trips(count: int) -> None:
    """Insert a row and wait for its result COUNT times; prints the seconds of each."""
    taken = []
    with connect(os.environ["BENCHMARKS_DSN"]) as connection, connect(os.environ["BENCHMARKS_DSN"]) as listening:
        listening.execute("listen done")
        for _ in range(count):
            start, id = time.perf_counter(), time_ordered_id()
            connection.execute(SEND.encode(), (id, json.dumps([time.time()])))
            list(listening.notifies(stop_after=1))
            ((state, _),) = connection.execute(RESULT.encode(), (id,)).fetchall()
            taken.append(time.perf_counter() - start)
            if state != "SUCCESS":
                raise RuntimeError(f"the floor's row ended as {state}")
    click.echo(json.dumps(taken))


if __name__ == "__main__":
    main()
