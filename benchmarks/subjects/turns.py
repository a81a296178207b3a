"""Stores rows plainly and by calls, in turns: `python -m benchmarks.subjects.turns SLICES`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

import click
import psycopg

from benchmarks.subjects import floor
from benchmarks.subjects.produce import call_each, call_many

ONE, LIST = 100, 10_000


def by_one(connection: psycopg.Connection) -> dict[str, Callable[[int], object]]:
    """Rows of a commit each."""

    def insert(count: int) -> None:
        for _ in range(count):
            connection.execute(floor.INSERT_ONE, (floor.time_ordered_id(),))

    return {"floor": insert, "lavoro": call_each}


def by_list(connection: psycopg.Connection) -> dict[str, Callable[[int], object]]:
    """Rows in batches of a commit each."""

    def insert(count: int) -> None:
        for _ in range(0, count, floor.BULK):
            connection.execute(floor.INSERT_MANY, ([floor.time_ordered_id() for _ in range(floor.BULK)],))

    return {"floor": insert, "lavoro": lambda count: call_many(count, count)}


def take_turns(subjects: dict[str, Callable[[int], object]], size: int, slices: int) -> dict[str, list[float]]:
    """Return the rates of all slices of each subject."""
    rates: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(slices + 1):
        for name, work in subjects.items():
            start = time.perf_counter()
            work(size)
            if number:  # the first one warms
                rates[name].append(size / (time.perf_counter() - start))
    return rates


@click.command()
@click.argument("slices", type=int)
def main(slices: int) -> None:
    """Take SLICES turns one by one, and a tenth as many in lists; print the rates as JSON."""
    with psycopg.connect(os.environ["BENCHMARKS_DSN"], autocommit=True) as connection:
        connection.execute(floor.SCHEMA.encode())
        one = take_turns(by_one(connection), ONE, slices)
        many = take_turns(by_list(connection), LIST, max(3, slices // 5))
    click.echo(json.dumps({"one by one": one, "in lists": many}))


if __name__ == "__main__":
    main()
