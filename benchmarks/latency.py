"""How long one call takes to start, and to return its result, while the worker is not busy."""

from __future__ import annotations

import statistics
from functools import partial

from benchmarks.hits import new_hits
from benchmarks.processes import environment, migrate, produce, running, worker
from benchmarks.server import empty_database
from benchmarks.values import Sample, Setting, Step

RATE, SECONDS, TRIPS, WARM = 100, 10, 300, 100


def steps(setting: Setting) -> list[Step]:
    """Measure Lavoro; the floor and the prototype have nothing to compare."""
    return [partial(_lavoro, setting)]


def _lavoro(setting: Setting) -> list[Sample]:
    calls, trips = max(100, round(RATE * SECONDS * min(1.0, setting.scale))), setting.scaled(TRIPS)
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        env = environment(dsn, hits)
        with running([worker(1)], env) as group:
            produce("preload", WARM, env=env)
            group.wait_until(lambda: hits.count() >= WARM, "the first tasks started")
            produce("paced", calls, RATE, env=env)
            group.wait_until(lambda: hits.count() >= WARM + calls, "the last paced task started")
            delays = hits.delays(skip=WARM)
            taken = produce("trips", trips, env=env)
    return [*_percentiles(f"call to start, {RATE} calls/s", delays), *_percentiles("call to result, one by one", taken)]


def _percentiles(figure: str, seconds: list[float]) -> list[Sample]:
    cuts = statistics.quantiles(seconds, n=100)
    return [
        Sample("lavoro", f"{figure}, p50", "ms", cuts[49] * 1e3),
        Sample("lavoro", f"{figure}, p99", "ms", cuts[98] * 1e3),
    ]
