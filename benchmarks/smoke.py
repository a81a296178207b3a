"""The guard of speed, `python -m benchmarks.smoke`: ratios of one run, held against those that were recorded.

A ratio divides Lavoro's rate by that of the prototype or the floor, which is measured just before or after, in turns.
The guard takes the median of several rounds: a disturbance of the machine hits few rounds, or both sides of one. A
round more is taken only while the median is under the bound, so that a quiet machine is soon done.
"""

from __future__ import annotations

import json
import signal
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import click

from benchmarks.figures import drain, enqueue
from benchmarks.stage.server import throwaway_server
from benchmarks.values import Sample, Setting, Step

RECORDED = Path(__file__).with_name("recorded.json")
LEAST, MOST = 3, 15
"""Rounds of the guard; a recording takes the most."""
ENOUGH = 0.88
"""Part of a recorded ratio that must be reached: medians of nine rounds have strayed by 10 % without any change."""


class Ratio(NamedTuple):
    """One ratio: its figure, the scale that keeps a round at a few seconds, and the steps of a round.

    The figure is a rate, of the other and of Lavoro; or of Lavoro a ratio, whose one step takes the turns itself.
    """

    figure: str
    scale: float
    steps: Callable[[Setting], list[Step]]


def _drained(setting: Setting, processes: int) -> list[Step]:
    return [partial(drain.prototype_run, setting, processes), partial(drain.lavoro, setting, processes)]


def _called(setting: Setting) -> list[Step]:
    return [partial(enqueue.in_turns, setting)]


RATIOS = {
    "drain, 1 process, of the prototype": Ratio("drain, 1 process, finished", 0.2, partial(_drained, processes=1)),
    "drain, 2 processes, of the prototype": Ratio("drain, 2 processes, finished", 0.3, partial(_drained, processes=2)),
    "enqueue one by one, of the floor": Ratio("enqueue in turns, one by one, of the floor", 0.5, _called),
    "enqueue in lists, of the floor": Ratio("enqueue in turns, in lists, of the floor", 0.5, _called),
}


@click.command()
@click.option("--record", is_flag=True, help="Write the ratios down instead of comparing them.")
def main(*, record: bool) -> None:
    """Measure the ratios; fail if one is under 88 % of what is recorded."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with throwaway_server() as server:
        setting = Setting(server)
        if record:
            medians = {name: round(statistics.median(islice(rounds(name, setting), MOST)), 3) for name in RATIOS}
            RECORDED.write_text(json.dumps(medians, indent=1) + "\n")
        else:
            recorded = json.loads(RECORDED.read_text())
            slow = [name for name in RATIOS if is_slow(name, rounds(name, setting), recorded[name])]
            sys.exit(1 if slow else 0)


def rounds(name: str, setting: Setting) -> Iterator[float]:
    """Measure ratios of that name, every second one in reverse order, until nobody asks for more."""
    figure, scale, steps = RATIOS[name]
    backwards = False
    while True:
        found = ratio(figure, steps(replace(setting, scale=scale)), backwards=backwards)
        click.echo(f"{name}: {found:.3f}")
        yield found
        backwards = not backwards


def is_slow(name: str, found: Iterator[float], recorded: float) -> bool:
    """Tell whether the median is under the bound, of the fewest rounds and still of the most."""
    ratios = list(islice(found, LEAST))
    while (median := statistics.median(ratios)) < ENOUGH * recorded and len(ratios) < MOST:
        ratios += islice(found, 2)
    slow = median < ENOUGH * recorded
    verdict = f"less than {ENOUGH:.0%} of" if slow else "near enough to"
    click.echo(f"{name}: {median:.3f} in {len(ratios)} rounds is {verdict} the recorded {recorded:.3f}")
    return slow


def ratio(figure: str, steps: list[Step], *, backwards: bool) -> float:
    """Run the steps and return Lavoro's ratio, or its rate divided by the other's."""
    measured = [each for step in (reversed(steps) if backwards else steps) for each in step()]
    samples = [each for each in measured if isinstance(each, Sample) and each.figure == figure]
    found = {(sample.subject, sample.unit): sample.value for sample in samples}
    if ("lavoro", "ratio") in found:
        return found["lavoro", "ratio"]
    rates = {subject: value for (subject, unit), value in found.items() if unit == "tasks/s"}
    ours = rates.pop("lavoro")
    (theirs,) = rates.values()
    return ours / theirs


if __name__ == "__main__":
    main()
