"""Compares the server's clock with our own monotonic one, to notice when the server's clock is set."""

from __future__ import annotations

import datetime as dt
import math
import time

STEP = 1.0
"""Seconds by which a clock may differ from ours between two readings, or a tenth of the lease if that is less."""


class ServerClock:
    """Knows since when the server's clock agrees with ours, and the latest time that it can show now.

    The age of a stored time is known only as far back as the two clocks agree.
    """

    def __init__(self, *, lease: float) -> None:
        self._slack = min(STEP, lease / 10)
        self._last: tuple[dt.datetime, float, float] | None = None
        self._known_since = math.inf
        self.true_since: dt.datetime | None = None
        """By the server's clock; None before the first reading."""

    @property
    def known_for(self) -> float:
        """The seconds, by our clock, for which the two are known to agree; 0 before the first reading."""
        return max(0.0, time.monotonic() - self._known_since)

    def read(self, theirs: dt.datetime, *, sent: float, answered: float) -> float:
        """Take a reading, made between two moments of ours; return by how many seconds the clock was set, mostly 0."""
        last, self._last = self._last, (theirs, sent, answered)
        if last is None or self.true_since is None:
            self.true_since, self._known_since = theirs, answered
            return 0.0
        before, sent_before, answered_before = last
        elapsed = (theirs - before).total_seconds()
        ahead, behind = elapsed - (answered - sent_before), elapsed - (sent - answered_before)
        step = ahead if ahead > self._slack else behind if behind < -self._slack else 0.0
        if step:
            self.true_since, self._known_since = theirs, answered
        return step

    def doubt(self) -> None:
        """Trust no time that was written before the next reading: its writer may have been unable to renew it."""
        self.true_since = self._last = None
        self._known_since = math.inf

    @property
    def latest(self) -> dt.datetime | None:
        """The latest time that the server's clock can show now, unless it was set; None before the first reading."""
        if self._last is None:
            return None
        theirs, sent, _ = self._last
        return theirs + dt.timedelta(seconds=time.monotonic() - sent + self._slack)
