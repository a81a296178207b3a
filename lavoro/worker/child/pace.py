"""Tells when lists and canvases come so fast that a child claims at intervals, not after each notification."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from lavoro.worker.child.in_flight import InFlight

INTERVAL = 0.01
"""Seconds between claims at a steady pace: with 5 ms the claims of small chords take a third more CPU."""
SEVERAL = 5
"""A claim of so many tasks has those of a list or a canvas. Single calls come by offers, and are not to wait."""
OVERLAP = 0.01
"""Seconds after a claim in which a notification tells of another sender, if tasks of that claim are in flight."""
ENOUGH = 4
"""So many claims of nothing, more than others, end a steady pace; so many overlaps begin it."""
RARE = 3
"""As many notifications without an overlap make up for one with it: another child may have the tasks before."""


class Pace:
    """Notes whether notifications come while the tasks of the last claim are in flight: their senders do not wait.

    A claim, a run and a finish for each small canvas take five times the CPU of claims of several canvases, which the
    senders need on a busy machine. A sender that waits for its result before it sends more never meets this. At a
    steady pace calls need not notify.
    """

    def __init__(self, in_flight: InFlight, clock: Callable[[], float] = time.monotonic) -> None:
        self._in_flight, self._clock = in_flight, clock
        self.steady = False
        """Whether to claim at intervals, without notifications."""
        self._level = 0
        self._claimed, self._stored = -math.inf, 0
        """When the last claim of several tasks was made, and how many tasks are released once those are stored."""

    def notified(self) -> None:
        """Take in that a task has come that is due, from any thread."""
        if self.steady or self._clock() - self._claimed > OVERLAP:
            return
        overlaps = self._in_flight.released < self._stored
        self._level = min(self._level + RARE, RARE * ENOUGH) if overlaps else max(self._level - 1, 0)

    def claimed(self, count: int) -> None:
        """Take in a claim of so many tasks, which are in flight; it begins or ends a steady pace."""
        if self.steady:
            self._level = min(self._level + 1, ENOUGH) if count else self._level - 1
            self.steady = self._level > 0
        elif count >= SEVERAL:
            self._claimed, self._stored = self._clock(), self._in_flight.released + count
            if self._level >= RARE * ENOUGH:
                self.steady, self._level = True, ENOUGH
