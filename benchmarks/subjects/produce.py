"""Calls the tasks from a process of its own and prints as JSON what that took; the figures run it."""

from __future__ import annotations

import os

if __name__ == "__main__" and os.environ.get("BENCHMARKS_GREENLETS"):  # threads are greenlets from here on
    from gevent import monkey

    monkey.patch_all()

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

import click

from benchmarks.stage.meter import Cost, cost_of, in_threads
from benchmarks.subjects.tasks import hold, nap, noop, quiet

PRELOAD = 10_000


@click.group()
def main() -> None:
    """Call the tasks and print what that took."""


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


def pace(count: int, rate: float) -> Iterator[int]:
    """Yield numbers at ``rate`` a second."""
    start = time.perf_counter()
    for number in range(count):
        time.sleep(max(0.0, start + number / rate - time.perf_counter()))
        yield number


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

    def work() -> None:
        for _ in range(each):
            quiet.delay()

    def prepare() -> Callable[[], None]:
        quiet.delay()
        return work

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
@click.option("--priority", type=int, default=0)
def paced(count: int, rate: float, priority: int) -> None:
    """Send COUNT calls at RATE a second."""
    for _ in pace(count, rate):
        noop.apply_async((time.time(),), priority=priority)
    click.echo("null")


@main.command()
@click.argument("count", type=int)
@click.argument("rate", type=float)
@click.argument("countdown", type=float)
def later(count: int, rate: float, countdown: float) -> None:
    """Send COUNT calls at RATE a second, each to start COUNTDOWN seconds later."""
    for _ in pace(count, rate):
        noop.apply_async((time.time() + countdown,), countdown=countdown)
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


@main.command()
@click.argument("number", type=int)
@click.argument("pause", type=float)
@click.argument("count", type=int)
@click.argument("seconds", type=float)
def bursts(number: int, pause: float, count: int, seconds: float) -> None:
    """Send COUNT tasks that take SECONDS at once, NUMBER times with a PAUSE before each."""
    for _ in range(number):
        time.sleep(pause)
        if seconds:
            nap.delay_many([(seconds,)] * count)
        else:
            quiet.delay_many([()] * count)
    click.echo("null")


@main.command()
@click.argument("count", type=int)
@click.argument("seconds", type=float)
def one_long(count: int, seconds: float) -> None:
    """Send COUNT short tasks, which record when they start, with one of SECONDS after the first tenth."""
    noop.delay_many([(0.0,)] * (count // 10))
    hold.delay(seconds)
    noop.delay_many([(0.0,)] * (count - count // 10))
    click.echo("null")


if __name__ == "__main__":
    main()
