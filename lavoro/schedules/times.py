"""Times and durations for schedules, and for scheduler classes that are written for Celery."""

from __future__ import annotations

from datetime import datetime, timezone, tzinfo
from typing import Any

from lavoro.schedules.base import zone_of

_UNITS = (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0), ("second", 1.0))


def humanize_seconds(secs: float, prefix: str = "", sep: str = "", now: str = "now", microseconds: bool = False) -> str:
    """Return a duration for people: ``1.50 minutes``; less than a second is ``now``, unless ``microseconds``."""
    seconds = round(float(secs), 2)
    for unit, length in _UNITS:
        if seconds >= length:
            count = seconds / length
            return f"{prefix}{sep}{count:.2f} {unit}{'s' if count > 1 else ''}"
    return f"{prefix}{sep}{seconds:.2f} seconds" if microseconds and seconds > 0 else now


def is_naive(dt: datetime) -> bool:
    """Return whether a time has no zone."""
    return dt.tzinfo is None or dt.tzinfo.utcoffset(dt) is None


def make_aware(dt: datetime, tz: str | tzinfo) -> datetime:
    """Return a time of the clock of a zone with that zone."""
    return dt.replace(tzinfo=zone_of(tz))


def maybe_make_aware(dt: datetime, tz: Any = None, naive_as_utc: bool = True) -> datetime:
    """Return a time with a zone: one without is UTC, or with ``naive_as_utc=False`` a time of the zone ``tz``."""
    if not is_naive(dt):
        return dt
    zone = timezone.utc if tz is None else zone_of(tz)
    return dt.replace(tzinfo=timezone.utc).astimezone(zone) if naive_as_utc else dt.replace(tzinfo=zone)
