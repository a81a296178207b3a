"""The values that the benchmarks pass to each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Subject = Literal["lavoro", "floor", "prototype"]


@dataclass(frozen=True)
class Setting:
    """What one run was asked to do.

    ``server`` is the URL of a server on which the run may create and drop its own database; ``scale`` multiplies
    every count of tasks; ``processes`` are the numbers of worker processes to try.
    """

    server: str
    scale: float = 1.0
    processes: tuple[int, ...] = (1, 2)
    pinned: bool = False
    throwaway: bool = True

    def scaled(self, count: int) -> int:
        """Scale a count of tasks, keeping at least 100."""
        return max(100, round(count * self.scale))


@dataclass(frozen=True)
class Sample:
    """One measured number. Samples of one ``figure`` are comparable across subjects within a round."""

    subject: Subject
    figure: str
    unit: str
    value: float


Step = Callable[[], list[Sample]]
"""Measures one subject once; a benchmark is a list of steps, and a round runs each of them."""
