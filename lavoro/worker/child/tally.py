"""Counts the starts of tasks that have ended in a child, and tells its supervisor once a second at most."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from lavoro.protocol.outcome import Finished, Outcome

EVERY = 1.0
"""Seconds between two messages to the supervisor; without an end there is none."""


class Tally:
    """The starts that have ended since the last message, by task and state, and the seconds that finished tasks took.

    ``tell`` gets a list of ``[name, state, count]``, and the seconds.
    """

    def __init__(
        self, tell: Callable[[list[list[object]], float], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tell, self._clock = tell, clock
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._seconds = 0.0
        self._next = 0.0

    def add(self, batch: Sequence[Outcome]) -> None:
        """Count a batch that is stored; a task that was given back without a start does not count."""
        ended = [(outcome.job.name, outcome.state) for outcome in batch if outcome.state is not None]
        seconds = sum(outcome.runtime or 0.0 for outcome in batch if type(outcome) is Finished)
        with self._lock:
            self._counts.update(ended)
            self._seconds += seconds

    def check(self) -> None:
        """Tell what was counted, if it is time; to be called several times a second."""
        if self._counts and self._clock() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Tell what was counted."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            seconds, self._seconds = self._seconds, 0.0
        self._next = self._clock() + EVERY
        if counts:
            self._tell([[name, state, count] for (name, state), count in counts.items()], seconds)
