"""The values that the benchmarks pass to each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """What one run was asked to do.

    ``server`` is the URL of a server on which the run may create and drop its own databases; ``scale`` multiplies
    every count of tasks; ``processes`` are the numbers of worker processes to try; ``peers`` the peers to measure.
    """

    server: str
    scale: float = 1.0
    processes: tuple[int, ...] = (1, 2)
    peers: tuple[str, ...] = ()
    pinned: bool = False
    throwaway: bool = True

    def scaled(self, count: int) -> int:
        """Scale a count of tasks, keeping at least 100."""
        return max(100, round(count * self.scale))

    def seconds(self, longest: float) -> float:
        """Shorten a measuring time for a scale below one, keeping at least 3 seconds."""
        return max(min(3.0, longest), longest * min(1.0, self.scale))


@dataclass(frozen=True)
class Sample:
    """One measured number. Samples of one ``figure`` are comparable across subjects within a round."""

    subject: str
    figure: str
    unit: str
    value: float


@dataclass(frozen=True)
class Series:
    """A measured curve, for a plot."""

    subject: str
    figure: str
    x: str
    y: str
    points: tuple[tuple[float, float], ...]


Step = Callable[[], list[Sample | Series]]
"""Measures one subject once; a benchmark is a list of steps, and a round runs each of them."""


class Skipped(Exception):
    """Raised by a step that cannot be measured here; the text says why and what to do."""
