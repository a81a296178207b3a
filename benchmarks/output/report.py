"""Turns the samples of a run into JSON for machines and Markdown tables for people."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.output.targets import verdicts
from benchmarks.values import Sample, Series

FIRST = ("lavoro", "prototype", "floor")
FEW = 3
"""Up to so many subjects are columns of a table; more become its rows."""


@dataclass(frozen=True)
class Row:
    """One figure in one unit: the value of each subject in each round, in order of the rounds."""

    figure: str
    unit: str
    values: dict[str, list[float]]

    def ratio(self, other: str) -> float | None:
        """Divide Lavoro's value by the other's round by round, and return the median."""
        ours, theirs = self.values.get("lavoro", []), self.values.get(other, [])
        ratios = [mine / its for mine, its in zip(ours, theirs, strict=False) if its]
        return statistics.median(ratios) if ratios else None


def rows(samples: Iterable[Sample]) -> list[Row]:
    """Gather samples of all rounds, in the order in which they came first."""
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        found[sample.figure, sample.unit][sample.subject].append(sample.value)
    return [Row(figure, unit, dict(values)) for (figure, unit), values in found.items()]


def as_json(table: Sequence[Row], series: Iterable[Series]) -> dict[str, Any]:
    """Return per figure every value with median, minimum and maximum, what became of the targets, and the curves."""
    figures = [
        {
            "figure": row.figure,
            "unit": row.unit,
            "subjects": {subject: _summary(values) for subject, values in row.values.items()},
            "targets": [
                {"target": str(verdict.target), "value": verdict.value, "met": verdict.met} for verdict in verdicts(row)
            ],
        }
        for row in table
    ]
    return {"figures": figures, "series": [asdict(one) for one in series]}


def from_json(found: dict[str, Any]) -> list[Row]:
    """Read the rows back."""
    return [
        Row(each["figure"], each["unit"], {name: one["values"] for name, one in each["subjects"].items()})
        for each in found["figures"]
    ]


def _summary(values: list[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}


def as_list(machine: dict[str, str]) -> str:
    """Return the machine as a Markdown list."""
    return "\n".join(f"- {name}: {value}" for name, value in machine.items())


def as_table(table: Sequence[Row]) -> str:
    """Return a Markdown table: median (minimum to maximum), ratios, targets."""
    names = {subject for row in table for subject in row.values}
    subjects = [name for name in FIRST if name in names] + sorted(names - set(FIRST))
    return _by_figure(table, subjects) if len(subjects) <= FEW else _by_subject(table, subjects)


def _by_figure(table: Sequence[Row], subjects: Sequence[str]) -> str:
    others = [subject for subject in subjects if subject != "lavoro"]
    head = ["figure", "unit", *subjects, *(f"lavoro / {other}" for other in others), "target"]
    lines = [head, ["---", "---", *["---:"] * (len(head) - 3), "---"]]
    for row in table:
        cells = [_cell(row.values.get(subject, [])) for subject in subjects]
        lines.append([row.figure, row.unit, *cells, *(_ratio(row.ratio(other)) for other in others), _targets(row)])
    return as_lines(lines)


def _by_subject(table: Sequence[Row], subjects: Sequence[str]) -> str:
    lines = [["", *(f"{row.figure} ({row.unit})" for row in table)], ["---", *["---:"] * len(table)]]
    lines += [[subject, *(_cell(row.values.get(subject, [])) for row in table)] for subject in subjects]
    lines.append(["target", *(_targets(row) for row in table)])
    return as_lines(lines)


def as_summary(table: Sequence[Row]) -> str:
    """Return a Markdown table with one line a figure, whatever the other subjects are."""
    lines = [["figure", "unit", "Lavoro", "others", "ratio", "goal"], ["---", "---", "---:", "---", "---", "---"]]
    for row in table:
        others = [name for name in row.values if name != "lavoro"]
        told = "; ".join(f"{name}: {_number(statistics.median(row.values[name]))}" for name in others)
        compared = [name for name in others if name in FIRST or name in {one.target.of for one in verdicts(row)}]
        ratios = "; ".join(f"{_ratio(row.ratio(name))} of {name}" for name in compared)
        goals = "; ".join(f"{one.target}: " + ("met" if one.met else "**not met**") for one in verdicts(row))
        lines.append([row.figure, row.unit, _cell(row.values.get("lavoro", [])), told, ratios, goals])
    return as_lines(lines)


def as_lines(lines: Iterable[Iterable[str]]) -> str:
    """Return the lines of a Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _targets(row: Row) -> str:
    """Tell the ratio only where no column shows it."""
    return "; ".join(
        f"{one.target}: " + ("met" if one.met else "**not met**") + (f", {one.value:.2f}" if one.target.of else "")
        for one in verdicts(row)
    )


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    median = _number(statistics.median(values))
    return f"{median} ({_number(min(values))} to {_number(max(values))})" if len(values) > 1 else median


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
