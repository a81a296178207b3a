"""Stores rows plainly and by calls, in turns: `python -m benchmarks.subjects.turns SLICES`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from functools import partial

import click
import psycopg

from benchmarks.subjects import floor
from benchmarks.subjects.produce import call_each, call_many

ONE, LIST = 100, 10_000


def take_turns(subjects: Mapping[str, Callable[[int], object]], size: int, slices: int) -> dict[str, list[float]]:
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
    """Take SLICES turns one by one, and a fifth as many in lists; print the rates as JSON."""
    with psycopg.connect(os.environ["BENCHMARKS_DSN"], autocommit=True) as connection:
        connection.execute(floor.SCHEMA.encode())
        call = partial(floor.insert_each, connection, statement=floor.INSERT_CALL, values=floor.CALL)
        singles: dict[str, Callable[[int], object]]
        singles = {"floor": partial(floor.insert_each, connection), "same row": call, "lavoro": call_each}
        one = take_turns(singles, ONE, slices)
        lists = {"floor": partial(floor.insert_batches, connection), "lavoro": partial(call_many, size=LIST)}
        many = take_turns(lists, LIST, max(3, slices // 5))
    click.echo(json.dumps({"one by one": one, "in lists": many}))


if __name__ == "__main__":
    main()
