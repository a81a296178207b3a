"""What a worker of one process costs while there is nothing to do."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.stage.hits import new_hits
from benchmarks.stage.processes import environment, migrate, produce, running, worker
from benchmarks.stage.server import empty_database, quiet_autovacuum, transactions
from benchmarks.values import Sample, Series, Setting, Step

SECONDS, SETTLE = 30.0, 15.0
"""The first upkeep of partitions comes within some seconds, the next after ten minutes."""


def steps(setting: Setting) -> list[Step]:
    """Measure Lavoro; the floor and the prototype have nothing to compare."""
    return [partial(_lavoro, setting)]


def _lavoro(setting: Setting) -> list[Sample | Series]:
    seconds = setting.seconds(SECONDS)
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        env = environment(dsn, hits)
        with quiet_autovacuum(setting.server, wanted=setting.throwaway), running([worker(1)], env) as group:
            produce("preload", 1, env=env)
            group.wait_until(lambda: hits.count() > 0, "the first task started")
            time.sleep(SETTLE)
            before, cpu, start = transactions(setting.server), group.cpu_seconds(), time.perf_counter()
            time.sleep(seconds)
            taken = time.perf_counter() - start
            return [
                Sample("lavoro", "idle, statements", "per s", (transactions(setting.server) - before) / taken),
                Sample("lavoro", "idle, CPU", "ms/s", (group.cpu_seconds() - cpu) / taken * 1e3),
                Sample("lavoro", "idle, memory", "MB", group.memory() / 1e6),
                Sample("lavoro", "idle, processes", "processes", float(len(group.members()))),
            ]
