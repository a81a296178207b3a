"""Counts what the children of a node have done, for `stats()` and for a line of the log each minute."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

from lavoro import states
from lavoro.text.plural import counted
from lavoro.worker.pipe import Message
from lavoro.worker.supervisor.children import Children

logger = logging.getLogger("lavoro.worker")

MINUTE = 60.0
LOAD = 60
"""The least number of tasks in a minute that is worth a line: one a second. At INFO, each of fewer has its own."""
_ORDER = (states.SUCCESS, states.FAILURE, states.RETRY)


class Activity:
    """The starts that have ended since the node began, by task; and in the current minute, by state."""

    def __init__(self, children: Children, clock: Callable[[], float] = time.monotonic) -> None:
        self._children, self._clock = children, clock
        self.total: Counter[str] = Counter()
        """The starts that have ended, by the name of the task; children that were replaced count too."""
        self._states: Counter[str] = Counter()
        self._seconds = 0.0
        self._since = clock()

    def add(self, message: Message) -> None:
        """Take in the counts of a child."""
        for name, state, count in message["ended"]:
            self.total[name] += count
            self._states[state] += count
        self._seconds += message["seconds"]

    def check(self) -> None:
        """Log the minute that is over, if there was load."""
        passed = self._clock() - self._since
        if passed < MINUTE:
            return
        if self._states.total() >= LOAD:
            logger.info("%s", self._summary(passed))
        self._states, self._seconds, self._since = Counter(), 0.0, self._clock()

    def _summary(self, passed: float) -> str:
        ended, finished = self._states.total(), self._states.total() - self._states[states.RETRY]
        order = [*_ORDER, *sorted(set(self._states) - set(_ORDER))]
        parts = ", ".join(f"{self._states[state]:,} {state}" for state in order if self._states[state])
        mean = 1000 * self._seconds / finished if finished else 0.0
        return (
            f"in {passed:.0f} s: {counted(ended, 'task')} ended, {ended / passed:,.1f} a second ({parts}),"
            f" {mean:,.1f} ms each; {self._busy}"
        )

    @property
    def _busy(self) -> str:
        boards = [child.scoreboard for child in self._children.ready if child.scoreboard is not None]
        busy, slots = sum(len(board.entries()) for board in boards), sum(board.slots for board in boards)
        return f"{busy:,} of {counted(slots, 'slot')} busy"
