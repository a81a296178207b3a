"""What a worker of one process costs while there is nothing to do."""

from __future__ import annotations

import time
from functools import partial

import psycopg

from benchmarks.hits import new_hits
from benchmarks.processes import environment, migrate, produce, running, worker
from benchmarks.server import DATABASE, empty_database, quiet_autovacuum
from benchmarks.values import Sample, Setting, Step

SECONDS, SETTLE = 30.0, 5.0
TRANSACTIONS = "select xact_commit + xact_rollback from pg_stat_database where datname = %s"


def steps(setting: Setting) -> list[Step]:
    """Measure Lavoro; the floor and the prototype have nothing to compare."""
    return [partial(_lavoro, setting)]


def _lavoro(setting: Setting) -> list[Sample]:
    seconds = max(5.0, SECONDS * min(1.0, setting.scale))
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        env = environment(dsn, hits)
        with quiet_autovacuum(setting.server, wanted=setting.throwaway), running([worker(1)], env) as group:
            produce("preload", 1, env=env)
            group.wait_until(lambda: hits.count() > 0, "the first task started")
            time.sleep(SETTLE)
            before, cpu, start = _transactions(setting), group.cpu_seconds(), time.perf_counter()
            time.sleep(seconds)
            taken = time.perf_counter() - start
            return [
                Sample("lavoro", "idle, transactions", "per s", (_transactions(setting) - before) / taken),
                Sample("lavoro", "idle, CPU", "ms/s", (group.cpu_seconds() - cpu) / taken * 1e3),
                Sample("lavoro", "idle, memory", "MB", group.memory() / 1e6),
                Sample("lavoro", "idle, processes", "processes", float(len(group.members()))),
            ]


def _transactions(setting: Setting) -> int:
    """Read the count of the benchmarks' database from another one, so that reading does not count."""
    with psycopg.connect(setting.server) as connection:
        return int(connection.execute(TRANSACTIONS, (DATABASE,)).fetchall()[0][0])
