"""The floor of latency in plain SQL: inserts that notify, and a process that listens, claims, and records the start."""

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
FIRST = datetime(2000, 1, 1, tzinfo=timezone.utc)


@click.group()
def main() -> None:
    """Send, or start what was sent, at the database of BENCHMARKS_DSN."""


@main.command()
def work() -> None:
    """Make the tables, then record the delay of every row until told to stop."""
    dsn = os.environ["BENCHMARKS_DSN"]
    with connect(dsn) as listening, connect(dsn) as claiming:
        claiming.execute(SCHEMA.encode())
        listening.execute("listen floor")
        record(0)  # ready
        cursor = claiming.cursor(binary=True)
        while True:
            for _ in listening.notifies(stop_after=1):
                for row in cursor.execute(CLAIM.encode(), (FIRST, 100)).fetchall():
                    record(json.loads(row[3])[0])


@main.command()
@click.argument("count", type=int)
@click.argument("rate", type=float)
def send(count: int, rate: float) -> None:
    """Insert COUNT rows, RATE a second."""
    with connect(os.environ["BENCHMARKS_DSN"]) as connection:
        for _ in pace(count, rate):
            connection.execute(SEND.encode(), (time_ordered_id(), json.dumps([time.time()])))


if __name__ == "__main__":
    main()
