"""What can be measured, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.figures import (
    canvas,
    control,
    cost,
    crowd,
    depth,
    drain,
    enqueue,
    flatness,
    fleet,
    idle,
    inspector,
    latency,
    limits,
    peers,
    plans,
    pooled,
    recovery,
    regret,
    retention,
    scale,
    schedules,
)
from benchmarks.values import Setting, Step


@dataclass(frozen=True)
class Benchmark:
    """A list of steps, and how many connections the server must allow for them."""

    steps: Callable[[Setting], list[Step]]
    connections: int = 100


BENCHMARKS: dict[str, Benchmark] = {
    "enqueue": Benchmark(enqueue.steps),
    "crowd": Benchmark(crowd.steps),
    "drain": Benchmark(drain.steps),
    "latency": Benchmark(latency.steps),
    "path": Benchmark(latency.path_steps),
    "eta": Benchmark(latency.eta_steps),
    "burst": Benchmark(latency.burst_steps),
    "depth": Benchmark(depth.steps),
    "flatness": Benchmark(flatness.steps),
    "plans": Benchmark(plans.steps),
    "life": Benchmark(cost.life_steps),
    "memory": Benchmark(cost.memory_steps),
    "idle": Benchmark(idle.steps),
    "control": Benchmark(control.steps),
    "retention": Benchmark(retention.steps),
    "scale": Benchmark(scale.steps),
    "fleet": Benchmark(fleet.steps, connections=fleet.CONNECTIONS),
    "pooled": Benchmark(pooled.steps),
    "regret": Benchmark(regret.steps),
    "recovery": Benchmark(recovery.steps),
    "peers": Benchmark(peers.steps),
    "canvas": Benchmark(canvas.steps),
    "chords": Benchmark(canvas.large_steps),
    "schedules": Benchmark(schedules.steps),
    "inspector": Benchmark(inspector.steps),
    "limits": Benchmark(limits.steps),
    "floor": Benchmark(lambda setting: [*enqueue.floor_steps(setting), *drain.floor_steps(setting)]),
    "prototype": Benchmark(drain.prototype_steps),
}
ALL = [name for name in BENCHMARKS if name not in ("floor", "prototype")]
