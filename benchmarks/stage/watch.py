"""Watches workers empty a full queue, and says what it took them and the server."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.stage.hits import Hits
from benchmarks.stage.meter import Cost, Meter, server_cpu_seconds
from benchmarks.stage.processes import Group, environment, running
from benchmarks.stage.progress import Progress
from benchmarks.stage.server import connect
from benchmarks.values import Sample, Series


@dataclass(frozen=True)
class Drained:
    """What emptying a queue took, from the first task's start until all outcomes were stored."""

    progress: Progress
    cost: Cost
    worker_cpu: float
    """Seconds per task."""
    server_cpu: float
    """Seconds per task; NaN if the server is not on this machine."""

    @property
    def started(self) -> float:
        """Tasks per second from the first start to the last."""
        return (self.progress.points[-1][1] - self.progress.first) / self.progress.seconds

    def samples(self, subject: str, figure: str) -> list[Sample | Series]:
        """Name the numbers."""
        cpu = {"worker CPU": self.worker_cpu, "server CPU": self.server_cpu}
        return [
            Sample(subject, f"{figure}, started", "tasks/s", self.started),
            *self.cost.samples(subject, f"{figure}, finished"),
            *(
                Sample(subject, f"{figure}, {name}", "us/task", value * 1e6)
                for name, value in cpu.items()
                if not math.isnan(value)
            ),
        ]


def drain(
    commands: Sequence[Sequence[str]],
    *,
    dsn: str,
    hits: Hits,
    count: int,
    processes: int,
    schema: str = "lavoro",
    env: dict[str, str] | None = None,
) -> Drained:
    """Start workers before a full queue, see :func:`together`, and watch them empty it.

    Raises when a task did not run once, or has no outcome: a fast figure must not be a wrong one.
    """
    env = {**(env or environment(dsn)), **hits.environment}
    with connect(dsn) as connection:
        with together(commands, env, dsn=dsn, table=f"{schema}.waiting", processes=processes) as group:
            drained = _watch(group, connection, hits=hits, count=count, schema=schema)
        check(connection, schema, hits, count)
    return drained


@contextmanager
def together(
    commands: Sequence[Sequence[str]],
    env: dict[str, str],
    *,
    dsn: str,
    table: str,
    processes: int,
    log: Path | None = None,
) -> Iterator[Group]:
    """Start workers whose queue's table is locked, and let them go when all ``processes`` stand before it.

    So neither starting up nor the order in which processes are ready counts.
    """
    with connect(dsn) as gate, connect(dsn) as connection:
        gate.execute(f"begin; lock table {table} in access exclusive mode".encode())
        with running(commands, env, log=log) as group:
            group.wait_until(lambda: _standing(connection) >= processes, "all processes came to the locked queue")
            gate.execute(b"commit")
            yield group


def _standing(connection: psycopg.Connection[Any]) -> int:
    """Count the processes that wait for the lock with their claim; a supervisor's look at the table is no claim."""
    waiting = (
        "select count(distinct pid) from pg_locks join pg_stat_activity using (pid) where not granted"
        " and locktype = 'relation' and (application_name = 'lavoro-claimer' or application_name !~ '^lavoro')"
    )
    return int(connection.execute(waiting).fetchall()[0][0])


def _watch(group: Group, connection: psycopg.Connection[Any], *, hits: Hits, count: int, schema: str) -> Drained:
    meter, progress = Meter(connection), Progress()
    group.wait_until(lambda: hits.count() > 0, "the first task started")
    start, cpu, server_cpu = time.perf_counter(), group.cpu_seconds(), server_cpu_seconds(connection)
    progress.watch(group, hits, count)
    group.wait_until(lambda: is_empty(connection, schema), "the last task finished", pause=0.005)
    seconds, cpu = time.perf_counter() - start, group.cpu_seconds() - cpu
    server_cpu = server_cpu_seconds(connection) - server_cpu
    wal, commits = meter.spent()
    left = count - progress.first
    return Drained(progress, Cost(left / seconds, wal / count, commits / count), cpu / left, server_cpu / left)


def is_empty(connection: psycopg.Connection[Any], schema: str = "lavoro") -> bool:
    """Tell whether nothing waits and nothing runs."""
    exists = f"select not exists (select from {schema}.waiting) and not exists (select from {schema}.running)"
    return bool(connection.execute(exists.encode()).fetchall()[0][0])


def check(connection: psycopg.Connection[Any], schema: str, hits: Hits, count: int) -> None:
    """Raise unless each task ran once and has its outcome."""
    states = f"select state, count(*) from {schema}.finished group by state"
    stored: dict[str, int] = dict(connection.execute(states.encode()).fetchall())
    if (hits.count(), stored) != (count, {"SUCCESS": count}):
        raise RuntimeError(f"{count} tasks sent to {schema} started {hits.count()} times and ended as {stored}")
