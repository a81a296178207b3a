"""Schedules from plain data: numbers of seconds, timedeltas, and texts such as ``@hourly`` or a crontab."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from lavoro.schedules.base import BaseSchedule
from lavoro.schedules.clocked import clocked
from lavoro.schedules.crontab import crontab
from lavoro.schedules.interval import schedule
from lavoro.schedules.solar import EVENTS, solar

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

    The text is a crontab of 5 to 7 fields, ``@hourly`` and the like, ``@every 1h30m`` (``@every 1h relative``: at full
    hours), ``@at 2027-01-01T00:00:00Z``, or an event of the sun at a latitude and longitude, ``@sunset 45.46 9.19``.
    Options are those of the class, such as ``tz``.
    """
    words = text.strip()
    if words.lower() in NAMED:
        return crontab.from_string(NAMED[words.lower()], **options)
    if not words.startswith("@"):
        return crontab.from_string(words, **options)
    name, _, rest = words[1:].partition(" ")
    if name.lower() == "every":
        relative = rest.rstrip().endswith(" relative")
        return schedule(duration(rest.rstrip().removesuffix(" relative")), relative, **options)
    if name.lower() == "at":
        return clocked(_time(rest, text), **options)
    if name.lower() in EVENTS:
        return solar(name.lower(), *_place(rest, text), **options)
    raise ValueError(
        f"{text!r} is no schedule: use one of {', '.join(NAMED)}, '@every 90s', '@at 2027-01-01T00:00:00Z', or"
        " '@sunset 45.46 9.19'"
    )


def _time(written: str, text: str) -> datetime:
    written = written.strip()
    try:
        return datetime.fromisoformat(f"{written[:-1]}+00:00" if written.endswith(("Z", "z")) else written)
    except ValueError:
        raise ValueError(f"{text!r} names no time: write it as '@at 2027-01-01T00:00:00Z'") from None


def _place(written: str, text: str) -> tuple[float, float]:
    try:
        latitude, longitude = map(float, written.split())
    except ValueError:
        raise ValueError(f"{text!r} needs a latitude and a longitude, in degrees: '@sunset 45.46 9.19'") from None
    return latitude, longitude


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
