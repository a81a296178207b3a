"""A regression guard of about a minute, `python -m benchmarks.smoke`: ratios of one run, held against recorded ones.

Each ratio divides Lavoro's rate by the prototype's or the floor's that was measured just before or after it, and the
best of three such pairs counts: a disturbance of the machine would have to hit all three.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from benchmarks.figures import drain, enqueue
from benchmarks.stage.server import throwaway_server
from benchmarks.values import Sample, Setting, Step

RECORDED = Path(__file__).with_name("recorded.json")
PAIRS, ENOUGH = 3, 0.7

# Name, figure, and the steps that measure first the other, then Lavoro; each with the scale that keeps it short.
RATIOS: dict[str, tuple[str, float, Callable[[Setting], list[Step]]]] = {
    "drain, 1 process, of the prototype": (
        "drain, 1 process, finished", 0.3,
        lambda setting: [partial(drain.prototype_run, setting, 1), partial(drain.lavoro, setting, 1)],
    ),
    "drain, 2 processes, of the prototype": (
        "drain, 2 processes, finished", 0.3,
        lambda setting: [partial(drain.prototype_run, setting, 2), partial(drain.lavoro, setting, 2)],
    ),
    "enqueue one by one, of the floor": (enqueue.BY_ONE, 0.3, lambda setting: enqueue.steps(setting)[0:2]),
    "enqueue in lists, of the floor": (enqueue.BY_LIST, 0.4, lambda setting: enqueue.steps(setting)[2:4]),
}  # fmt: skip


@click.command()
@click.option("--record", is_flag=True, help="Write the ratios down instead of comparing them.")
def main(*, record: bool) -> None:
    """Measure the ratios; fail if one is under 70 % of what is recorded."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with throwaway_server() as server:
        setting = Setting(server)
        found = {name: best(name, setting, stop_at=None if record else recorded()[name]) for name in RATIOS}
    if record:
        RECORDED.write_text(json.dumps({name: round(ratio, 2) for name, ratio in found.items()}, indent=1) + "\n")
        return
    slow = [name for name, ratio in found.items() if ratio < ENOUGH * recorded()[name]]
    for name in slow:
        click.echo(f"{name}: {found[name]:.2f} is under {ENOUGH:.0%} of the recorded {recorded()[name]:.2f}", err=True)
    sys.exit(1 if slow else 0)


def recorded() -> dict[str, float]:
    """Read the ratios that were recorded last."""
    return dict(json.loads(RECORDED.read_text()))


def best(name: str, setting: Setting, *, stop_at: float | None) -> float:
    """Return the best ratio of three pairs; stop early when one reaches the recorded one."""
    figure, scale, steps = RATIOS[name]
    ratios: list[float] = []
    for number in range(PAIRS):
        ratios.append(ratio(figure, steps(replace(setting, scale=scale)), backwards=number % 2 == 1))
        if stop_at is not None and ratios[-1] >= stop_at:
            break
    click.echo(f"{name}: {max(ratios):.2f} (of {', '.join(f'{one:.2f}' for one in ratios)})")
    return max(ratios)


def ratio(figure: str, steps: list[Step], *, backwards: bool) -> float:
    """Run both steps and divide Lavoro's rate by the other's."""
    samples = [sample for step in (reversed(steps) if backwards else steps) for sample in step()]
    rates = {
        sample.subject: sample.value
        for sample in samples
        if isinstance(sample, Sample) and (sample.figure, sample.unit) == (figure, "tasks/s")
    }
    ours = rates.pop("lavoro")
    (theirs,) = rates.values()
    return ours / theirs


if __name__ == "__main__":
    main()
