"""Whether claiming stays as fast with millions of tasks waiting, or scheduled for later, as with ten thousand."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial

from benchmarks.stage import fill
from benchmarks.stage.processes import migrate
from benchmarks.stage.server import empty_database
from benchmarks.subjects.desk import Desk
from benchmarks.values import Sample, Series, Setting, Step

SHALLOW, DEEP = 10_000, 1_000_000
SLICE, SLICES = 2_500, 40
DAY = 86_400.0


def steps(setting: Setting) -> list[Step]:
    """Measure all depths in one step, for they take turns."""
    return [partial(_lavoro, setting)]


def _lavoro(setting: Setting) -> list[Sample | Series]:
    """Claim in turns from databases of different depth, each refilled: so a drift of the machine meets all."""
    deep = setting.scaled(DEEP)
    depths = {"10,000 waiting": (SHALLOW, 0), f"{deep:,} waiting": (deep, 0), f"{deep:,} for later": (SHALLOW, deep)}
    with ExitStack() as stack:
        desks = {
            name: stack.enter_context(_filled(setting.server, f"lavoro_benchmarks_{number}", due, later))
            for number, (name, (due, later)) in enumerate(depths.items())
        }
        rates = _in_turns(desks)
    return [*_rates(rates), *_ratios(rates)]


@contextmanager
def _filled(server: str, name: str, due: int, later: int) -> Iterator[Desk]:
    """Yield a desk on a database of its own with so many tasks due and so many scheduled for the next ten days."""
    with empty_database(server, name) as dsn:
        migrate(dsn)
        with closing(Desk(dsn)) as desk:
            fill.waiting(desk.tx.connection, due, begin=-DAY, span=DAY)
            fill.waiting(desk.tx.connection, later, begin=DAY, span=10 * DAY)
            fill.settle(desk.tx.connection)
            yield desk


def _in_turns(desks: dict[str, Desk]) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {name: [] for name in desks}
    for number in range(SLICES + 2):
        for name, desk in desks.items():
            desk.refill(SLICE)
            rate = SLICE / desk.walk(SLICE)
            if number >= 2:  # the first ones warm the caches
                rates[name].append(rate)
    return rates


def _rates(rates: dict[str, list[float]]) -> list[Sample | Series]:
    return [
        Sample("lavoro", f"claim + finish, {name}", "tasks/s", statistics.median(values))
        for name, values in rates.items()
    ]


def _ratios(rates: dict[str, list[float]]) -> list[Sample | Series]:
    (_, shallow), *deep = rates.items()
    return [
        Sample(
            "lavoro", f"claim + finish, {name}, of the rate with 10,000", "ratio",
            statistics.median(there / here for there, here in zip(values, shallow, strict=True)),
        )
        for name, values in deep
    ]  # fmt: skip
