"""Durations of options, in seconds, and the times that they name."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

LONGEST = 10**10
"""Most seconds a countdown may have: some 300 years."""


def seconds(option: str, value: Any) -> float:
    """Return a duration, given as a number or timedelta, in seconds; raises ``TypeError`` or ``ValueError``."""
    try:
        number = value.total_seconds() if isinstance(value, dt.timedelta) else float(value)
    except OverflowError:
        number = math.inf
    if not -LONGEST <= number <= LONGEST:  # NaN is not either
        raise ValueError(f"{option} must be a number of seconds up to {LONGEST:,}, not {value}")
    return number


def later(countdown: float | dt.timedelta) -> str:
    """Return the time after a countdown, by this machine's clock, as ISO text."""
    return (dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=seconds("countdown", countdown))).isoformat()
