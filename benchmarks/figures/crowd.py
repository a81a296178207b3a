"""How fast 32 callers at once store calls while a worker runs them, beside 32 connections that plainly insert."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.stage.hits import new_hits
from benchmarks.stage.meter import Cost
from benchmarks.stage.processes import environment, migrate, produce, running, worker
from benchmarks.stage.server import empty_database
from benchmarks.subjects import floor
from benchmarks.values import Sample, Series, Setting, Step

CALLS = 16_000
FIGURE = "enqueue while a worker runs, 32 {}"


def steps(setting: Setting) -> list[Step]:
    """Measure the plain inserts, threads and greenlets, all into the same table beside the same worker."""
    count = setting.scaled(CALLS)

    def plain(dsn: str) -> Cost:
        return floor.insert_one_by_one(dsn, count, threads=floor.THREADS, statement=floor.INSERT_TASK)

    def calls(dsn: str, **environ: str) -> Cost:
        return Cost(**produce("threads", count, floor.THREADS, env={**environment(dsn), **environ}))

    return [
        partial(_beside_a_worker, setting, {"floor": ["threads", "greenlets"]}, plain),
        partial(_beside_a_worker, setting, {"lavoro": ["threads"]}, calls),
        partial(_beside_a_worker, setting, {"lavoro": ["greenlets"]}, partial(calls, BENCHMARKS_GREENLETS="1")),
    ]


def _beside_a_worker(
    setting: Setting, names: dict[str, list[str]], measure: Callable[[str], Cost]
) -> list[Sample | Series]:
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        env = environment(dsn, hits)
        with running([worker(1)], env) as group:
            produce("preload", 1, env=env)
            group.wait_until(lambda: hits.count() > 0, "the first task started")
            rate = measure(dsn).rate
    return [Sample(subject, FIGURE.format(kind), "tasks/s", rate) for subject, kinds in names.items() for kind in kinds]
