"""Whether prefetching ever harms: one long task among short ones, and what a stop gives back."""

from __future__ import annotations

import signal
import time
from functools import partial
from typing import Any

import psycopg

from benchmarks.stage.hits import new_hits
from benchmarks.stage.processes import environment, migrate, produce, running, worker
from benchmarks.stage.server import connect, empty_database
from benchmarks.values import Sample, Series, Setting, Step

SHORT, LONG = 10_000, 3.0
WORKERS = {
    "two prefork processes": [worker(1, "-P", "prefork", "-c", "2")],
    "two solo nodes": [worker(1, "-P", "solo")] * 2,
}
SLOTS, NAPS, NAP = 10, 1_000, 3.0


def steps(setting: Setting) -> list[Step]:
    """Measure a long task for both kinds of two single slots, and a stop."""
    return [*(partial(_one_long, setting, name) for name in WORKERS), partial(_stop, setting)]


def _one_long(setting: Setting, name: str) -> list[Sample | Series]:
    """Count the short tasks that started after the long one had ended, although the other slot was idle by then."""
    count = setting.scaled(SHORT)
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        env = environment(dsn, hits)
        produce("one-long", count, LONG, env=env)
        with running(WORKERS[name], env) as group:
            group.wait_until(lambda: hits.count() >= count + 1, "the last task started")
            values = hits.values()
    ended, starts = -min(values), sorted(value for value in values if value > 0)
    late = sum(start > ended for start in starts)
    figure = f"one task of {LONG:g} s among {count:,}, {name}"
    return [
        Sample("lavoro", f"{figure}, short ones held back", "tasks", late),
        Sample("lavoro", f"{figure}, all short ones started within", "s", starts[-1] - starts[0]),
    ]


def _stop(setting: Setting) -> list[Sample | Series]:
    """Stop a worker that has just run thousands of short tasks and holds long ones, running and ahead."""
    short = setting.scaled(SHORT)
    with empty_database(setting.server) as dsn, new_hits() as hits, connect(dsn) as connection:
        migrate(dsn)
        env = environment(dsn, hits)
        produce("preload", short, env=env)
        produce("bursts", 1, 0, NAPS, NAP, env=env)
        with running([worker(1, "-c", str(SLOTS))], env) as group:
            group.wait_until(lambda: hits.count() >= short, "the last short task started")
            group.wait_until(lambda: _running(connection) >= SLOTS, "the long ones started")
            ahead, start = _running(connection), time.perf_counter()
            group.processes[0].send_signal(signal.SIGTERM)
            while _running(connection) > SLOTS and time.perf_counter() - start < NAP:
                time.sleep(0.002)
            back = time.perf_counter() - start
            code = group.processes[0].wait(60)
            gone = time.perf_counter() - start
        counted = connection.execute("select count(*) from lavoro.waiting where attempt > 0").fetchall()[0][0]
        left = connection.execute("select count(*) from lavoro.waiting").fetchall()[0][0]
    if code or left != NAPS - SLOTS:
        raise RuntimeError(f"after SIGTERM: exit code {code}, {left} of {NAPS - SLOTS} unstarted tasks wait again")
    return [
        Sample("lavoro", "SIGTERM, claimed and not started", "tasks", ahead - SLOTS),
        Sample("lavoro", "SIGTERM, all of them waiting again after", "s", back),
        Sample("lavoro", "SIGTERM, of them with a start counted", "tasks", counted),
        Sample("lavoro", f"SIGTERM, exit with tasks of {NAP:g} s running", "s", gone),
    ]


def _running(connection: psycopg.Connection[Any]) -> int:
    long = "select count(*) from lavoro.running where name like '%%.nap'"
    return int(connection.execute(long, ()).fetchall()[0][0])
