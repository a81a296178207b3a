"""Decides when the next children start: the pause grows with failed starts and with short lives."""

from __future__ import annotations

import math
import time

from lavoro.worker.supervisor.lifecycle import State
from lavoro.worker.supervisor.process import ChildProcess

FAILED_STARTS = 5
"""Children in a row that may end before they are ready, until the worker gives up."""
SHORT_LIFE = 10.0
"""Seconds; the more children in a row crash sooner, the longer the pause before the next start."""


class Starts:
    """The numbers of the children still to be started, each with its time (monotonic)."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int]] = []
        self._failed = self._short_lives = 0

    def __bool__(self) -> bool:
        """Whether any child is still to be started."""
        return bool(self._due)

    @property
    def numbers(self) -> set[int]:
        """The numbers of the children still to be started."""
        return {number for _, number in self._due}

    @property
    def next_at(self) -> float:
        """When the next one starts."""
        return min((moment for moment, _ in self._due), default=math.inf)

    @property
    def fail(self) -> bool:
        """Whether so many starts have failed in a row that the worker gives up."""
        return self._failed >= FAILED_STARTS

    def add(self, number: int, *, after: float = 0.0) -> None:
        """Start a child after so many seconds."""
        self._due.append((time.monotonic() + after, number))

    def drop(self, *, above: int = -1) -> None:
        """Start no child whose number is higher; without a limit, none."""
        self._due = [start for start in self._due if start[1] <= above]

    def take_due(self) -> list[int]:
        """Return the numbers whose time has come; they are no longer to be started."""
        now = time.monotonic()
        due = [start for start in self._due if start[0] <= now]
        self._due = [start for start in self._due if start not in due]
        return [number for _, number in due]

    def succeeded(self) -> None:
        """Forget the failed starts: a child has begun to run tasks."""
        self._failed = 0

    def add_successor(self, child: ChildProcess) -> None:
        """Start the successor of a child that is gone, after a pause if it crashed.

        A child that was ready crashed because of a task, which fails after ``lavoro_max_crashes``: so the pause stays
        short, for the other tasks.
        """
        self.add(child.number, after=self._pause_after(child) if child.crashed else 0.0)

    def _pause_after(self, child: ChildProcess) -> float:
        if child.life.ready:
            age = time.monotonic() - child.life.since(State.STARTING)
            self._short_lives = self._short_lives + 1 if age < SHORT_LIFE else 0
            return float(min(1.0, 0.05 * 2 ** min(self._short_lives, 16)))
        self._failed += 1
        return float(min(30.0, 0.1 * 2 ** min(self._failed, 16)))
