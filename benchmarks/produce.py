"""Calls the task from a process of its own and prints as JSON what that took; the other benchmarks run it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict

import click

from benchmarks.meter import Cost, cost_of, in_threads
from benchmarks.tasks import noop

PRELOAD = 10_000


@click.group()
def main() -> None:
    """Call the task and print what that took."""


def show(cost: Cost) -> None:
    """Print a cost for the process that asked."""
    click.echo(json.dumps(asdict(cost)))


def call_many(count: int, size: int) -> None:
    """Send calls in lists of ``size``."""
    for start in range(0, count, size):
        noop.delay_many([(time.time(),)] * min(size, count - start))


def call_each(count: int) -> None:
    """Send calls one by one."""
    for _ in range(count):
        noop.delay(time.time())


@main.command()
@click.argument("count", type=int)
def one(count: int) -> None:
    """Send COUNT calls one by one."""
    call_each(10)
    show(cost_of(os.environ["BENCHMARKS_DSN"], count, lambda: call_each(count)))


@main.command()
@click.argument("count", type=int)
@click.argument("size", type=int)
def many(count: int, size: int) -> None:
    """Send COUNT calls in lists of SIZE."""
    call_each(10)
    show(cost_of(os.environ["BENCHMARKS_DSN"], count, lambda: call_many(count, size)))


@main.command()
@click.argument("count", type=int)
@click.argument("number", type=int)
def threads(count: int, number: int) -> None:
    """Send COUNT calls one by one from NUMBER threads."""
    each = max(1, count // number)

    def prepare() -> Callable[[], None]:
        call_each(1)
        return lambda: call_each(each)

    show(cost_of(os.environ["BENCHMARKS_DSN"], each * number, in_threads(number, prepare)))


@main.command()
@click.argument("count", type=int)
def preload(count: int) -> None:
    """Send COUNT calls as fast as possible."""
    call_many(count, PRELOAD)
    click.echo("null")


@main.command()
@click.argument("count", type=int)
@click.argument("rate", type=float)
def paced(count: int, rate: float) -> None:
    """Send COUNT calls at RATE a second."""
    start = time.perf_counter()
    for number in range(count):
        time.sleep(max(0.0, start + number / rate - time.perf_counter()))
        noop.delay(time.time())
    click.echo("null")


@main.command()
@click.argument("count", type=int)
def trips(count: int) -> None:
    """Call and wait for the result COUNT times; prints the seconds of each."""
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        noop.delay(time.time()).get(timeout=30)
        taken.append(time.perf_counter() - start)
    click.echo(json.dumps(taken))


if __name__ == "__main__":
    main()
