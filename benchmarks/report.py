"""Turns the samples of a run into JSON for machines and a Markdown table for people."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from benchmarks.values import Sample, Subject

SUBJECTS: tuple[Subject, ...] = ("lavoro", "prototype", "floor")


@dataclass(frozen=True)
class Row:
    """One figure in one unit: the value of each subject in each round, in order of the rounds."""

    figure: str
    unit: str
    values: dict[Subject, list[float]]

    def ratio(self, other: Subject) -> float | None:
        """Divide Lavoro's value by the other's round by round, and return the median."""
        ours, theirs = self.values.get("lavoro", []), self.values.get(other, [])
        ratios = [mine / its for mine, its in zip(ours, theirs, strict=False) if its]
        return statistics.median(ratios) if ratios else None


def rows(rounds: list[list[Sample]]) -> list[Row]:
    """Gather the samples of all rounds, sorted by figure."""
    found: dict[tuple[str, str], dict[Subject, list[float]]] = defaultdict(lambda: defaultdict(list))
    for samples in rounds:
        for sample in samples:
            found[sample.figure, sample.unit][sample.subject].append(sample.value)
    return [Row(figure, unit, dict(values)) for (figure, unit), values in sorted(found.items())]


def as_json(machine: dict[str, str], options: dict[str, Any], table: list[Row]) -> dict[str, Any]:
    """Return everything: the machine, the options, and per figure every value with median, minimum and maximum."""
    figures = [
        {
            "figure": row.figure,
            "unit": row.unit,
            "subjects": {subject: _summary(values) for subject, values in row.values.items()},
            "lavoro/prototype": row.ratio("prototype"),
            "lavoro/floor": row.ratio("floor"),
        }
        for row in table
    ]
    return {"machine": machine, "options": options, "figures": figures}


def _summary(values: list[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}


def as_markdown(machine: dict[str, str], table: list[Row]) -> str:
    """Return the machine as a list and the figures as a table: median (minimum to maximum)."""
    lines = [f"- {name}: {value}" for name, value in machine.items()]
    lines += ["", "| figure | unit | Lavoro | prototype | floor | Lavoro / prototype | Lavoro / floor |"]
    lines += ["|---|---|---:|---:|---:|---:|---:|"]
    for row in table:
        cells = [_cell(row.values.get(subject, [])) for subject in SUBJECTS]
        ratios = [_ratio(row.ratio("prototype")), _ratio(row.ratio("floor"))]
        lines.append("| " + " | ".join([row.figure, row.unit, *cells, *ratios]) + " |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    median = _number(statistics.median(values))
    return f"{median} ({_number(min(values))} to {_number(max(values))})" if len(values) > 1 else median


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
