"""Draws the figures that say more as a picture, from the JSON of the runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.axes import Axes

OURS, OTHERS = "#c2410c", "#64748b"
Found = Mapping[str, Any]
"""The JSON of one benchmark: its figures and series."""


@dataclass(frozen=True)
class Plot:
    """One picture: of which benchmark, of which figures (a pattern), drawn how."""

    benchmark: str
    pattern: str
    draw: Callable[[Axes, Found, str], None]
    title: str
    size: tuple[float, float] = (6.4, 3.2)


def draw_all(found: Mapping[str, Found], folder: Path) -> list[Path]:
    """Draw what the benchmarks found allow, as SVG; return the files."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "lavoro", "font.size": 9})
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _draw(plot, found[plot.benchmark], folder / f"benchmark-{name}.svg")
        for name, plot in PLOTS.items()
        if plot.benchmark in found
    ]


def _draw(plot: Plot, found: Found, path: Path) -> Path:
    figure, axes = pyplot.subplots(figsize=plot.size, layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(plot.title, loc="left", fontsize=10)
    plot.draw(axes, found, plot.pattern)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


def _bars(axes: Axes, found: Found, pattern: str) -> None:
    """One bar a subject, the best above; a logarithmic scale, for they differ by orders of magnitude."""
    one = next(each for each in found["figures"] if fnmatchcase(each["figure"], pattern))
    medians = sorted((summary["median"], name) for name, summary in one["subjects"].items())
    values, names = [value for value, _ in medians], [name for _, name in medians]
    bars = axes.barh(names, values, color=[OURS if name == "lavoro" else OTHERS for name in names])
    axes.bar_label(bars, labels=[f"{value:,.0f}" for value in values], padding=3)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel(one["unit"])


def _curves(axes: Axes, found: Found, pattern: str) -> None:
    """One line a series."""
    chosen = [each for each in found["series"] if fnmatchcase(each["figure"], pattern)]
    for each in chosen:
        axes.plot(*zip(*each["points"], strict=True), label=_label(each, chosen), linewidth=1.5)
    axes.set_xlabel(chosen[0]["x"])
    axes.set_ylabel(chosen[0]["y"])
    axes.set_ylim(bottom=0)
    if len(chosen) > 1:
        axes.legend(frameon=False)


def _label(series: Found, chosen: Sequence[Found]) -> str:
    """What tells a series from the others: its subject, or the end of its figure."""
    subjects = {each["subject"] for each in chosen}
    return str(series["subject"] if len(subjects) > 1 else series["figure"].rpartition(", ")[2])


PLOTS: dict[str, Plot] = {
    "peers-drain": Plot("peers", "drain of *", _bars, "Running no-op tasks"),
    "flatness": Plot("flatness", "drain*", _curves, "Tasks per second while a transaction holds a snapshot"),
}
"""The pictures of the performance page."""
