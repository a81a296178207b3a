"""How many tasks had started when: rates of any part of a run, and its curve."""

from __future__ import annotations

import time
from bisect import bisect_left

from benchmarks.stage.hits import Hits
from benchmarks.stage.processes import Group

GRAIN = 0.02


class Progress:
    """Seconds since the first look and the starts until then."""

    def __init__(self) -> None:
        self.points: list[tuple[float, int]] = []

    def watch(self, group: Group, hits: Hits, until: int) -> None:
        """Look from the first start on, until so many tasks have started."""
        group.wait_until(lambda: hits.count() > 0, "the first task started")
        begin = time.perf_counter()

        def look() -> bool:
            now, count = time.perf_counter() - begin, hits.count()
            if not self.points or count >= until or now - self.points[-1][0] >= GRAIN:
                self.points.append((now, count))
            return count >= until

        group.wait_until(look, "the last task started")

    @property
    def seconds(self) -> float:
        """From the first look to the last start."""
        return self.points[-1][0]

    @property
    def first(self) -> int:
        """How many had started at the first look already."""
        return self.points[0][1]

    def rate(self, begin: float, end: float) -> float:
        """Return tasks per second between two shares of all tasks, 0 to 1."""
        total = self.points[-1][1]
        return (end - begin) * total / (self._when(end * total) - self._when(begin * total))

    def curve(self, pieces: int = 50) -> tuple[tuple[float, float], ...]:
        """Return tasks started (in thousands) and tasks per second, piece by piece."""
        total = self.points[-1][1]
        shares = [piece / pieces for piece in range(1, pieces + 1)]
        return tuple((share * total / 1e3, self.rate(share - 1 / pieces, share)) for share in shares)

    def _when(self, count: float) -> float:
        """Interpolate when so many had started."""
        position = bisect_left(self.points, count, key=lambda point: point[1])
        if position == 0:
            return self.points[0][0]
        (before, low), (after, high) = self.points[position - 1], self.points[min(position, len(self.points) - 1)]
        return before if high == low else before + (after - before) * (count - low) / (high - low)
