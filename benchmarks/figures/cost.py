"""What a task costs over its whole life, and what a worker's memory does over many tasks."""

from __future__ import annotations

import statistics
from functools import partial

import psutil

from benchmarks.stage import fill, watch
from benchmarks.stage.hits import Hits, new_hits
from benchmarks.stage.meter import Cost
from benchmarks.stage.processes import Group, environment, migrate, produce, running, worker
from benchmarks.stage.server import connect, empty_database
from benchmarks.values import Sample, Series, Setting, Step

LIVES, MEMORABLE = 20_000, 500_000
LOOKS = 100
HOUR = 3_600.0


def life_steps(setting: Setting) -> list[Step]:
    """Measure lives that begin with a call each, and lives that begin in lists."""
    count = setting.scaled(LIVES)
    return [
        partial(_life, setting, "called one by one", ["one", count]),
        partial(_life, setting, "called in lists", ["many", count, 10_000]),
    ]


def _life(setting: Setting, how: str, verb: list[object]) -> list[Sample | Series]:
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        born = Cost(**produce(*verb, env=environment(dsn)))
        with connect(dsn) as connection:
            count = connection.execute("select count(*) from lavoro.waiting").fetchall()[0][0]
        rest = watch.drain([worker(1)], dsn=dsn, hits=hits, count=count, processes=1).cost
    return [
        Sample("lavoro", f"whole life, {how}, enqueue", "WAL bytes/task", born.wal),
        Sample("lavoro", f"whole life, {how}, claim + finish", "WAL bytes/task", rest.wal),
        Sample("lavoro", f"whole life, {how}", "WAL bytes/task", born.wal + rest.wal),
        Sample("lavoro", f"whole life, {how}, besides the enqueue", "commits/task", rest.commits),
    ]


def memory_steps(setting: Setting) -> list[Step]:
    """Measure one child while it runs many tasks."""
    return [partial(_memory, setting)]


def _memory(setting: Setting) -> list[Sample | Series]:
    count = setting.scaled(MEMORABLE)
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        env = environment(dsn, hits)
        with running([worker(1)], env) as group, connect(dsn) as connection:
            produce("preload", 100, env=env)
            group.wait_until(lambda: hits.count() >= 100, "the first tasks started")
            child = _child(group)
            resident, own = child.memory_info().rss, child.memory_full_info().uss
            fill.waiting(connection, count, begin=-HOUR, span=HOUR)
            points = _look(group, child, hits, count)
    slope, _ = statistics.linear_regression(*zip(*[point for point in points if point[0] > count / 5e3], strict=True))
    return [
        Sample("lavoro", "memory of a child at start, resident", "MB", resident / 1e6),
        Sample("lavoro", "memory of a child at start, its own", "MB", own / 1e6),
        Sample("lavoro", "memory of a child at the end, its own", "MB", points[-1][1]),
        Sample("lavoro", "memory of a child, growth", "KB/1,000 tasks", slope * 1e3),
        Series("lavoro", "memory of a child", "thousand tasks", "MB", tuple(points)),
    ]


def _child(group: Group) -> psutil.Process:
    """Return the process that runs the tasks: the biggest of the node's."""
    return max(group.members(), key=lambda member: member.memory_info().rss)


def _look(group: Group, child: psutil.Process, hits: Hits, count: int) -> list[tuple[float, float]]:
    """Note thousands of tasks and megabytes, a hundred times on the way."""
    points = []
    for number in range(1, LOOKS + 1):
        goal = count * number // LOOKS
        group.wait_until(partial(_reached, hits, goal), f"{goal} tasks started", pause=0.01)
        points.append((hits.count() / 1e3, child.memory_full_info().uss / 1e6))
    return points


def _reached(hits: Hits, goal: int) -> bool:
    return hits.count() >= goal
