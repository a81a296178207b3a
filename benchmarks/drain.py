"""How fast workers run a full queue of tasks that do nothing: Lavoro's, the prototype's, and the floor's walk."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import psycopg

from benchmarks import floor, prototype
from benchmarks.hits import Hits, new_hits
from benchmarks.meter import Cost, Meter, server_cpu_seconds
from benchmarks.processes import environment, migrate, produce, running, worker
from benchmarks.server import empty_database, held_snapshot
from benchmarks.values import Sample, Setting, Step, Subject

TASKS = 100_000


def steps(setting: Setting) -> list[Step]:
    """Measure the floor, and per number of processes the prototype and Lavoro."""
    ours = [partial(_lavoro, setting, processes) for processes in setting.processes]
    pairs = zip(prototype_steps(setting), ours, strict=True)
    return [*floor_steps(setting), *(step for pair in pairs for step in pair)]


def floor_steps(setting: Setting) -> list[Step]:
    """Measure the floor alone."""
    count = setting.scaled(TASKS)

    def measure(dsn: str) -> Cost:
        floor.insert_in_bulk(dsn, count)
        return floor.walk(dsn, count)

    return [floor.step(setting, _figure(1, "finished"), measure)]


def prototype_steps(setting: Setting) -> list[Step]:
    """Measure the prototype alone."""
    return [partial(_prototype, setting, processes) for processes in setting.processes]


def _figure(processes: int, what: str) -> str:
    return f"drain, {processes} process{'es' if processes > 1 else ''}, {what}"


def _lavoro(setting: Setting, processes: int) -> list[Sample]:
    count = setting.scaled(TASKS)
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        produce("preload", count, env=environment(dsn))
        with held_snapshot(dsn, wanted=setting.pinned):
            return _watch("lavoro", [worker(processes)], dsn=dsn, hits=hits, count=count, processes=processes)


def _prototype(setting: Setting, processes: int) -> list[Sample]:
    count = setting.scaled(TASKS)
    with empty_database(setting.server) as dsn, new_hits() as hits:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(Path(__file__).with_suffix(".sql").with_stem("prototype").read_text())
            _preload_prototype(connection, count)
        commands = [[sys.executable, "-m", "benchmarks.prototype", dsn, str(n + 1)] for n in range(processes)]
        with held_snapshot(dsn, wanted=setting.pinned):
            return _watch("prototype", commands, dsn=dsn, hits=hits, count=count, processes=processes)


def _preload_prototype(connection: psycopg.Connection, count: int) -> None:
    for start in range(0, count, floor.BULK):
        ids = [floor.time_ordered_id() for _ in range(min(floor.BULK, count - start))]
        connection.execute(prototype.INSERT, (f"[{time.time()!r}]", ids))


def _watch(
    subject: Subject, commands: Sequence[Sequence[str]], *, dsn: str, hits: Hits, count: int, processes: int
) -> list[Sample]:
    """Time from the first start to the last, and on to the last finish; connecting and importing is not timed."""
    env = environment(dsn, hits)
    with psycopg.connect(dsn, autocommit=True) as connection, running(commands, env) as group:
        meter = Meter(connection)
        group.wait_until(lambda: hits.count() > 0, "the first task started")
        first, start, cpu = hits.count(), time.perf_counter(), group.cpu_seconds()
        server_cpu = server_cpu_seconds(connection)
        group.wait_until(lambda: hits.count() >= count, "the last task started")
        started = time.perf_counter() - start
        group.wait_until(lambda: _is_empty(connection, subject), "the last task finished", pause=0.005)
        finished, cpu = time.perf_counter() - start, group.cpu_seconds() - cpu
        server_cpu = server_cpu_seconds(connection) - server_cpu
        wal, commits = meter.spent()
    _check(dsn, subject, hits, count)
    left = count - first
    cost = Cost(left / finished, wal / count, commits / count)
    server = Sample(subject, _figure(processes, "server CPU"), "us/task", server_cpu / left * 1e6)
    return [
        Sample(subject, _figure(processes, "started"), "tasks/s", left / started),
        *cost.samples(subject, _figure(processes, "finished")),
        Sample(subject, _figure(processes, "worker CPU"), "us/task", cpu / left * 1e6),
        *([] if math.isnan(server_cpu) else [server]),
    ]


def _is_empty(connection: psycopg.Connection, schema: str) -> bool:
    exists = f"select not exists (select from {schema}.waiting) and not exists (select from {schema}.running)"
    return bool(connection.execute(exists).fetchall()[0][0])


def _check(dsn: str, schema: str, hits: Hits, count: int) -> None:
    """Raise unless each task ran once and has its outcome: a fast figure must not be a wrong one."""
    with psycopg.connect(dsn) as connection:
        states = f"select state, count(*) from {schema}.finished group by state"
        stored: dict[str, int] = dict(connection.execute(states).fetchall())
    if (hits.count(), stored) != (count, {"SUCCESS": count}):
        raise RuntimeError(f"{count} tasks sent to {schema} started {hits.count()} times and ended as {stored}")
