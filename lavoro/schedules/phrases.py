"""Schedules from plain data: numbers of seconds, timedeltas, and texts such as ``@hourly`` or a crontab."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from lavoro.schedules.base import BaseSchedule
from lavoro.schedules.crontab import crontab
from lavoro.schedules.interval import schedule

NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_WORDS = {
    "millisecond": "ms",
    "second": "s",
    "sec": "s",
    "minute": "m",
    "min": "m",
    "hour": "h",
    "day": "d",
    "week": "w",
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")


def from_text(text: str, **options: Any) -> BaseSchedule:
    """Return the schedule that a text means; raises ``ValueError`` or ``ParseException`` for one that means none.

    The text is a crontab of 5 to 7 fields, ``@hourly`` and the like, or ``@every 1h30m``. Options are those of the
    class, such as ``tz``.
    """
    words = text.strip()
    if words.lower() in NAMED:
        return crontab.from_string(NAMED[words.lower()], **options)
    if words.lower().startswith("@every"):
        return schedule(duration(words[len("@every") :]), **options)
    if words.startswith("@"):
        raise ValueError(f"{text!r} is no schedule: use one of {', '.join(NAMED)}, or '@every 90s'")
    return crontab.from_string(words, **options)


def duration(text: str) -> timedelta:
    """Return the duration that a text means: ``90s``, ``1h30m``, ``1.5 hours``, ``2 days``."""
    words = text.strip().lower()
    parts = _DURATION.findall(words)
    units = [unit if unit in _UNITS else _WORDS.get(unit.removesuffix("s")) for _, unit in parts]
    if not parts or _DURATION.sub("", words).replace("and", "").strip() or None in units:
        raise ValueError(f"{text!r} is no duration: write it as '90s', '1h30m' or '2 days'")
    seconds = sum(float(number) * _UNITS[unit] for (number, _), unit in zip(parts, units, strict=True) if unit)
    return timedelta(seconds=seconds)


def maybe_schedule(s: Any, relative: bool = False, app: Any = None) -> Any:
    """Return a schedule: seconds, a timedelta or a text becomes one, a schedule is given the application."""
    if isinstance(s, (int, float, timedelta)):
        return schedule(s, relative, app=app)
    if isinstance(s, str):
        return from_text(s, app=app)
    if s is not None:
        s.app = app
    return s
