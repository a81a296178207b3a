"""Whether everything works, and how fast, through PgBouncer in transaction mode."""

from __future__ import annotations

import json
from functools import partial

from benchmarks.output.percentiles import percentiles
from benchmarks.stage import watch
from benchmarks.stage.hits import new_hits
from benchmarks.stage.meter import Cost
from benchmarks.stage.pgbouncer import pooled
from benchmarks.stage.processes import environment, migrate, produce, running, worker
from benchmarks.stage.server import connect, empty_database
from benchmarks.values import Sample, Series, Setting, Step

TASKS, ONE = 50_000, 3_000
RATE, SECONDS, WARM = 100, 5.0, 100


def steps(setting: Setting) -> list[Step]:
    """Measure directly and through the pool."""
    return [partial(_lavoro, setting, way) for way in ("direct", "PgBouncer")]


def _lavoro(setting: Setting, way: str) -> list[Sample | Series]:
    with empty_database(setting.server) as dsn:
        migrate(dsn)
        if way == "direct":
            return _measure(setting, way, dsn, environment(dsn))
        with pooled(dsn) as url:
            settings = {"lavoro_pooled": True, "lavoro_direct_url": dsn}
            env = {**environment(url), "BENCHMARKS_SETTINGS": json.dumps(settings)}
            return _measure(setting, way, dsn, env)


def _measure(setting: Setting, way: str, dsn: str, env: dict[str, str]) -> list[Sample | Series]:
    count, calls = setting.scaled(TASKS), round(RATE * setting.seconds(SECONDS))
    one = Cost(**produce("one", setting.scaled(ONE), env=env))
    with connect(dsn) as connection:
        connection.execute(b"truncate lavoro.waiting")
    produce("preload", count, env=env)
    with new_hits() as hits:
        drained = watch.drain([worker(2)], dsn=dsn, hits=hits, count=count, processes=2, env=env)
    with new_hits() as hits, running([worker(1)], {**env, **hits.environment}) as group:
        produce("preload", WARM, env=env)
        group.wait_until(lambda: hits.count() >= WARM, "the first tasks started")
        produce("paced", calls, RATE, env=env)
        group.wait_until(lambda: hits.count() >= WARM + calls, "the last call started")
        delays = hits.values(skip=WARM)
        trips = produce("trips", 100, env=env)
    return [
        Sample("lavoro", f"enqueue, one by one, {way}", "tasks/s", one.rate),
        Sample("lavoro", f"drain, 2 processes, {way}", "tasks/s", drained.started),
        *percentiles("lavoro", f"call to start, {way}", delays),
        *percentiles("lavoro", f"call to result, {way}", trips),
    ]
