"""A regression guard of about a minute, `python -m benchmarks.smoke`: ratios of one run, held against recorded ones.

Each ratio divides Lavoro's rate by the prototype's or the floor's that was measured just before or after it. Recorded
is the median of five such pairs; the guard is content with the first of three that comes near it, for a disturbance
of the machine seldom hits Lavoro alone three times.
"""

from __future__ import annotations

import json
import signal
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from benchmarks.figures import drain, enqueue
from benchmarks.stage.server import throwaway_server
from benchmarks.values import Sample, Setting, Step

RECORDED = Path(__file__).with_name("recorded.json")
TRIES, RECORDS, ENOUGH = 3, 5, 0.7

RATIOS: dict[str, tuple[str, float, Callable[[Setting], list[Step]]]] = {
    "drain, 1 process, of the prototype": (
        "drain, 1 process, finished", 0.3,
        lambda setting: [partial(drain.prototype_run, setting, 1), partial(drain.lavoro, setting, 1)],
    ),
    "drain, 2 processes, of the prototype": (
        "drain, 2 processes, finished", 0.3,
        lambda setting: [partial(drain.prototype_run, setting, 2), partial(drain.lavoro, setting, 2)],
    ),
    "enqueue one by one, of the floor": (enqueue.BY_ONE, 1.0, lambda setting: enqueue.steps(setting)[0:2]),
    "enqueue in lists, of the floor": (enqueue.BY_LIST, 0.4, lambda setting: enqueue.steps(setting)[2:4]),
}  # fmt: skip
"""Each ratio's figure, the scale that keeps it short, and the steps that measure the other and Lavoro."""


@click.command()
@click.option("--record", is_flag=True, help="Write the ratios down instead of comparing them.")
def main(*, record: bool) -> None:
    """Measure the ratios; fail if one is under 70 % of what is recorded."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with throwaway_server() as server:
        setting = Setting(server)
        if record:
            medians = {name: round(statistics.median(pairs(name, setting, RECORDS)), 2) for name in RATIOS}
            RECORDED.write_text(json.dumps(medians, indent=1) + "\n")
        else:
            slow = [name for name, median in json.loads(RECORDED.read_text()).items() if is_slow(name, setting, median)]
            sys.exit(1 if slow else 0)


def pairs(name: str, setting: Setting, count: int) -> Iterator[float]:
    """Measure so many ratios of that name, every second one in reverse order."""
    figure, scale, steps = RATIOS[name]
    for number in range(count):
        found = ratio(figure, steps(replace(setting, scale=scale)), backwards=number % 2 == 1)
        click.echo(f"{name}: {found:.2f}")
        yield found


def is_slow(name: str, setting: Setting, median: float) -> bool:
    """Tell whether none of three ratios comes near the recorded one."""
    slow = all(found < ENOUGH * median for found in pairs(name, setting, TRIES))
    verdict = f"is under {ENOUGH:.0%} of" if slow else "is near enough to"
    click.echo(f"{name} {verdict} the recorded {median:.2f}")
    return slow


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
