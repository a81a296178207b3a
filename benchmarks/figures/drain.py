"""How fast workers run a full queue of tasks that do nothing: Lavoro's, the prototype's, and the floor's walk."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.stage import watch
from benchmarks.stage.hits import new_hits
from benchmarks.stage.meter import Cost
from benchmarks.stage.processes import environment, migrate, produce, worker
from benchmarks.stage.server import empty_database, held_snapshot
from benchmarks.subjects import floor, prototype
from benchmarks.values import Sample, Series, Setting, Step

TASKS = 100_000
SCHEMA = Path(prototype.__file__).with_suffix(".sql")


def steps(setting: Setting) -> list[Step]:
    """Measure the floor, and per number of processes the prototype and Lavoro."""
    ours = [partial(lavoro, setting, processes) for processes in setting.processes]
    pairs = zip(prototype_steps(setting), ours, strict=True)
    return [*floor_steps(setting), *(step for pair in pairs for step in pair)]


def floor_steps(setting: Setting) -> list[Step]:
    """Measure the floor alone."""
    count = setting.scaled(TASKS)

    def measure(dsn: str) -> Cost:
        floor.insert_in_bulk(dsn, count)
        return floor.walk(dsn, count)

    return [floor.step(setting, _figure(1) + ", finished", measure)]


def prototype_steps(setting: Setting) -> list[Step]:
    """Measure the prototype alone."""
    return [partial(prototype_run, setting, processes) for processes in setting.processes]


def _figure(processes: int) -> str:
    return f"drain, {processes} process{'es' if processes > 1 else ''}"


def lavoro(setting: Setting, processes: int) -> list[Sample | Series]:
    """Fill the queue through the public API and measure a worker of so many processes."""
    count = setting.scaled(TASKS)
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        produce("preload", count, env=environment(dsn))
        with held_snapshot(dsn, wanted=setting.pinned):
            drained = watch.drain([worker(processes)], dsn=dsn, hits=hits, count=count, processes=processes)
    return drained.samples("lavoro", _figure(processes))


def prototype_run(setting: Setting, processes: int) -> list[Sample | Series]:
    """Measure so many processes of the prototype."""
    return prototype_drained(setting, processes, setting.scaled(TASKS)).samples("prototype", _figure(processes))


def prototype_drained(setting: Setting, processes: int, count: int) -> watch.Drained:
    """Fill the prototype's queue and have it emptied."""
    with empty_database(setting.server) as dsn, new_hits() as hits:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(SCHEMA.read_bytes())
            _preload_prototype(connection, count)
        commands = [[sys.executable, "-m", prototype.__name__, dsn, str(n + 1)] for n in range(processes)]
        with held_snapshot(dsn, wanted=setting.pinned):
            return watch.drain(commands, dsn=dsn, hits=hits, count=count, processes=processes, schema="prototype")


def _preload_prototype(connection: psycopg.Connection, count: int) -> None:
    for start in range(0, count, floor.BULK):
        ids = [floor.time_ordered_id() for _ in range(min(floor.BULK, count - start))]
        connection.execute(prototype.INSERT, (f"[{time.time()!r}]", ids))
