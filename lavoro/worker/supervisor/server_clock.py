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
        self.answers_since: dt.datetime | None = None
        """When the last outage ended. Both by the server's clock, as it was set last; None before the first reading."""

    @property
    def known_for(self) -> float:
        """The seconds, by our clock, for which the two have agreed without an outage; 0 before the first reading."""
        return max(0.0, time.monotonic() - self._known_since)

    def read(self, theirs: dt.datetime, *, sent: float, answered: float, outage: bool = False) -> float:
        """Take a reading, made between two moments of ours; return by how many seconds the clock was set, mostly 0.

        After an ``outage`` a time may be old because its writer was unable to renew it.
        """
        last, self._last = self._last, (theirs, sent, answered)
        step = 0.0 if last is None else self._step(*last, *self._last)
        if step or last is None:
            self.true_since = theirs
        if step or last is None or outage:
            self.answers_since, self._known_since = theirs, answered
        return step

    def _step(
        self, before: dt.datetime, sent_before: float, answered_before: float,
        theirs: dt.datetime, sent: float, answered: float,
    ) -> float:  # fmt: skip
        elapsed = (theirs - before).total_seconds()
        ahead, behind = elapsed - (answered - sent_before), elapsed - (sent - answered_before)
        return ahead if ahead > self._slack else behind if behind < -self._slack else 0.0

    @property
    def latest(self) -> dt.datetime | None:
        """The latest time that the server's clock can show now, unless it was set; None before the first reading."""
        if self._last is None:
            return None
        theirs, sent, _ = self._last
        return theirs + dt.timedelta(seconds=time.monotonic() - sent + self._slack)
