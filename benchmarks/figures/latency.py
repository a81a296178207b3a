"""How soon a call starts: paced, there and back, on its due time, and past a burst of less urgent ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from benchmarks.output.percentiles import distribution, percentiles
from benchmarks.stage import fill
from benchmarks.stage.hits import Hits, new_hits
from benchmarks.stage.processes import Group, environment, migrate, produce, producing, run_module, running, worker
from benchmarks.stage.server import connect, empty_database
from benchmarks.values import Sample, Series, Setting, Step

RATE, SECONDS, TRIPS, WARM = 100, 10.0, 300, 100
LATER, COUNTDOWN, DAY = 1_000_000, 2.0, 86_400.0
BURST, BURSTS, HIGH = 10_000, 3, 9
TRIP = "call to result, one by one"
RELAY = "benchmarks.subjects.relay"
PATH = "benchmarks.subjects.path"
STAGES = (
    "from the call to the child's notification", "from there to the reading", "the reading", "from there to the task",
)  # fmt: skip
LENGTHS = {"no-op tasks": 0.0, "20 ms tasks": 0.02}


def steps(setting: Setting) -> list[Step]:
    """Measure the way in plain SQL, with a process that listens and claims, and Lavoro; a prototype has no wake-up."""
    return [partial(_floor, setting), partial(_floor_of_trips, setting), partial(_paced, setting)]


def eta_steps(setting: Setting) -> list[Step]:
    """Measure calls with a countdown while a million others wait for days to come."""
    return [partial(_eta, setting)]


def burst_steps(setting: Setting) -> list[Step]:
    """Measure urgent calls while bursts of less urgent ones arrive."""
    return [partial(_burst, setting, name, length) for name, length in LENGTHS.items()]


def path_steps(setting: Setting) -> list[Step]:
    """Measure the stages of the way from a call to its start."""
    return [partial(_path, setting)]


@contextmanager
def _warm_worker(setting: Setting, *, later: int = 0) -> Iterator[tuple[Group, Hits, dict[str, str]]]:
    """Yield a worker of one process that has run its first tasks, beside so many tasks of the next ten days."""
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        if later:
            with connect(dsn) as connection:
                fill.waiting(connection, later, begin=DAY, span=10 * DAY)
                fill.settle(connection)
        env = environment(dsn, hits)
        with running([worker(1)], env) as group:
            produce("preload", WARM, env=env)
            group.wait_until(lambda: hits.count() >= WARM, "the first tasks started")
            yield group, hits, env


def _delays(group: Group, hits: Hits, env: dict[str, str], calls: int, verb: Sequence[object]) -> list[float]:
    """Have calls made and return their delays."""
    produce(*verb, env=env)
    group.wait_until(lambda: hits.count() >= WARM + calls, "the last call started")
    return hits.values(skip=WARM)


def _floor(setting: Setting) -> list[Sample | Series]:
    calls = round(RATE * setting.seconds(SECONDS))
    with empty_database(setting.server) as dsn, new_hits() as hits:
        env = environment(dsn, hits)
        with running([[sys.executable, "-m", RELAY, "work"]], env) as group:
            group.wait_until(lambda: hits.count() == 1, "the listener was ready")
            run_module(RELAY, "send", str(calls), str(RATE), env=env)
            group.wait_until(lambda: hits.count() == 1 + calls, "the last row was claimed")
            delays = hits.values(skip=1)
    figure = f"call to start, {RATE} calls/s"
    return [*percentiles("floor", figure, delays), distribution("floor", figure, delays)]


def _floor_of_trips(setting: Setting) -> list[Sample | Series]:
    with empty_database(setting.server) as dsn, new_hits() as hits:
        env = environment(dsn, hits)
        with running([[sys.executable, "-m", RELAY, "work", "--finish"]], env) as group:
            group.wait_until(lambda: hits.count() == 1, "the listener was ready")
            taken = json.loads(run_module(RELAY, "trips", str(setting.scaled(TRIPS)), env=env))
    return [*percentiles("floor", TRIP, taken), distribution("floor", TRIP, taken)]


def _paced(setting: Setting) -> list[Sample | Series]:
    calls, trips = round(RATE * setting.seconds(SECONDS)), setting.scaled(TRIPS)
    with _warm_worker(setting) as (group, hits, env):
        delays = _delays(group, hits, env, calls, ["paced", calls, RATE])
        taken = produce("trips", trips, env=env)
    figures = {f"call to start, {RATE} calls/s": delays, TRIP: taken}
    found: list[Sample | Series] = []
    for figure, seconds in figures.items():
        found += [*percentiles("lavoro", figure, seconds), distribution("lavoro", figure, seconds)]
    return found


def _path(setting: Setting) -> list[Sample | Series]:
    """Calls and starts are recorded in files of their own; the first calls wake a worker that has just begun."""
    calls = round(RATE * setting.seconds(SECONDS))
    with empty_database(setting.server) as dsn, new_hits() as called, new_hits() as started:
        migrate(dsn)
        with running([worker(1, app=PATH)], environment(dsn, started)) as group:
            for count in (WARM, calls):
                run_module(PATH, str(count), str(RATE), env=environment(dsn, called))
                group.wait_until(lambda: started.count() == len(STAGES) * called.count(), "the last call started")
            figures = {"the call itself": called.values(skip=WARM)}
            passed = started.values(skip=WARM * len(STAGES))
    figures |= {name: passed[number :: len(STAGES)] for number, name in enumerate(STAGES)}
    return [sample for name, seconds in figures.items() for sample in percentiles("lavoro", name, seconds)]


def _eta(setting: Setting) -> list[Sample | Series]:
    calls, later = round(RATE * setting.seconds(SECONDS)), setting.scaled(LATER)
    with _warm_worker(setting, later=later) as (group, hits, env):
        delays = _delays(group, hits, env, calls, ["later", calls, RATE, COUNTDOWN])
    figure = f"late on its due time, {later:,} others for later"
    return [*percentiles("lavoro", figure, delays), distribution("lavoro", figure, delays)]


def _burst(setting: Setting, name: str, length: float) -> list[Sample | Series]:
    """Only the urgent calls record their delays; the bursts come from a process that is ready before."""
    burst, seconds = setting.scaled(BURST), setting.seconds(SECONDS)
    calls = round(RATE * seconds)
    with (
        _warm_worker(setting) as (group, hits, env),
        producing("bursts", BURSTS, seconds / (BURSTS + 1), burst, length, env=env),
        producing("paced", calls, RATE, "--priority", HIGH, env=env),
    ):
        group.wait_until(lambda: hits.count() >= WARM + calls, "the last call started")
        delays = hits.values(skip=WARM)
    return percentiles("lavoro", f"urgent call to start beside bursts of {burst:,} {name}", delays)
