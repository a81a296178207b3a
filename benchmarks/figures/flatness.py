"""Whether workers stay as fast while somebody holds a snapshot, so that vacuum can clean nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import psycopg

from benchmarks.stage import fill, watch
from benchmarks.stage.hits import new_hits
from benchmarks.stage.processes import migrate, worker
from benchmarks.stage.server import empty_database, held_snapshot
from benchmarks.values import Sample, Series, Setting, Step

TASKS = 500_000
READERS, READING = 4, 4.0
HOUR = 3_600.0

Hindrance = Callable[[str], AbstractContextManager[None]]


def steps(setting: Setting) -> list[Step]:
    """Measure a worker of two processes undisturbed, under one snapshot held all the time, and beside four readers."""
    return [partial(_lavoro, setting, name, hindrance) for name, hindrance in HINDRANCES.items()]


@contextmanager
def _readers(dsn: str) -> Iterator[None]:
    """Keep four REPEATABLE READ transactions open that overlap: as one ends, the others still hold their snapshots."""
    stop = threading.Event()
    threads = [threading.Thread(target=_read, args=(dsn, stop, number)) for number in range(READERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _read(dsn: str, stop: threading.Event, number: int) -> None:
    length = READING * (number + 1) / READERS  # the first round staggers them
    while not stop.is_set():
        with psycopg.connect(dsn) as connection:
            connection.execute("set transaction isolation level repeatable read")
            connection.execute("select count(*) from pg_class")
            stop.wait(length)
        length = READING


HINDRANCES: dict[str, Hindrance] = {
    "undisturbed": lambda dsn: nullcontext(),
    "snapshot held": lambda dsn: held_snapshot(dsn, wanted=True),
    "four overlapping readers": _readers,
}


def _lavoro(setting: Setting, name: str, hindrance: Hindrance) -> list[Sample | Series]:
    count, figure = setting.scaled(TASKS), f"drain, 2 processes, {name}"
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        with psycopg.connect(dsn, autocommit=True) as connection:
            fill.waiting(connection, count, begin=-HOUR, span=HOUR)
            fill.settle(connection)
        with hindrance(dsn):
            progress = watch.drain([worker(2)], dsn=dsn, hits=hits, count=count, processes=2).progress
    # The very first and last tasks are left out: there the processes start, or one has nothing left to do.
    first, last = progress.rate(0.05, 0.15), progress.rate(0.85, 0.95)
    return [
        Sample("lavoro", f"{figure}, first tenth", "tasks/s", first),
        Sample("lavoro", f"{figure}, last tenth", "tasks/s", last),
        Sample("lavoro", f"{figure}, last of first tenth", "ratio", last / first),
        Sample("lavoro", f"{figure}, whole", "tasks/s", progress.rate(0.05, 0.95)),
        Series("lavoro", figure, "thousand tasks", "tasks/s", progress.curve()),
    ]
