"""How fast calls are stored: one by one, in lists, and from many threads, each beside the floor's insert."""

from __future__ import annotations

import json
import statistics
from functools import partial
from operator import truediv

from benchmarks.stage.meter import Cost
from benchmarks.stage.processes import environment, migrate, produce, run_module
from benchmarks.stage.server import empty_database, held_snapshot
from benchmarks.subjects import floor
from benchmarks.values import Sample, Series, Setting, Step

ONE, MANY, THREADED, LIST = 3_000, 50_000, 9_600, 10_000
SLICES = 40
BY_ONE, BY_LIST = "enqueue, one by one", "enqueue, in lists"
BY_THREADS = f"enqueue, {floor.THREADS} threads"


def steps(setting: Setting) -> list[Step]:
    """Measure Lavoro and the floor in pairs."""
    one, many, threaded = (setting.scaled(count) for count in (ONE, MANY, THREADED))
    ours = [
        _lavoro(setting, BY_ONE, "one", one),
        _lavoro(setting, BY_LIST, "many", many, LIST),
        _lavoro(setting, BY_THREADS, "threads", threaded, floor.THREADS),
    ]
    pairs = [step for pair in zip(floor_steps(setting), ours, strict=True) for step in pair]
    return [*pairs, partial(in_turns, setting)]


def in_turns(setting: Setting) -> list[Sample | Series]:
    """Store by turns in one process; the medians of the slices, and of the ratio of each to the floor's beside it."""
    with empty_database(setting.server) as dsn:
        migrate(dsn)
        slices = max(5, round(SLICES * min(1.0, setting.scale)))
        found = json.loads(run_module("benchmarks.subjects.turns", str(slices), env=environment(dsn)))
    samples: list[Sample | Series] = []
    for how, rates in found.items():
        figure = f"enqueue in turns, {how}"
        for subject, values in rates.items():
            samples.append(Sample(subject, figure, "tasks/s", statistics.median(values)))
            if subject != "floor":
                ratio = statistics.median(map(truediv, values, rates["floor"]))
                samples.append(Sample(subject, f"{figure}, of the floor", "ratio", ratio))
    return samples


def floor_steps(setting: Setting) -> list[Step]:
    """Measure the floor alone."""
    one, many, threaded = (setting.scaled(count) for count in (ONE, MANY, THREADED))
    return [
        floor.step(setting, BY_ONE, partial(floor.insert_one_by_one, count=one)),
        floor.step(setting, BY_LIST, partial(floor.insert_in_bulk, count=many)),
        floor.step(setting, BY_THREADS, partial(floor.insert_one_by_one, count=threaded, threads=floor.THREADS)),
    ]


def _lavoro(setting: Setting, figure: str, *arguments: object) -> Step:
    def run() -> list[Sample | Series]:
        with empty_database(setting.server) as dsn:
            migrate(dsn)
            with held_snapshot(dsn, wanted=setting.pinned):
                return Cost(**produce(*arguments, env=environment(dsn))).samples("lavoro", figure)

    return run
