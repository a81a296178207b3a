"""Schedules as texts that a row of the database keeps: a crontab, or a phrase such as ``@every 90s``."""

from __future__ import annotations

from datetime import timezone
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from lavoro.schedules.base import BaseSchedule
from lavoro.schedules.clocked import clocked
from lavoro.schedules.crontab import cron, crontab
from lavoro.schedules.fluent import Every
from lavoro.schedules.interval import schedule
from lavoro.schedules.phrases import from_text
from lavoro.schedules.solar import solar


class Timing(NamedTuple):
    """A schedule as text, and its zone, None for the application's."""

    text: str
    zone: str | None


def timing_of(given: BaseSchedule) -> Timing | None:
    """Return a schedule as text; None for one that only Python can compute."""
    made = given.made if isinstance(given, Every) else given
    write = _WRITERS.get(type(made))
    zone = given._tz if given._tz is not None else made._tz
    if write is None or not (zone is None or isinstance(zone, ZoneInfo) or zone is timezone.utc):
        return None
    return Timing(write(made), None if zone is None else "UTC" if zone is timezone.utc else str(zone))


def schedule_of(timing: Timing, app: Any) -> BaseSchedule:
    """Return the schedule of a text; raises ``ValueError`` or ``ParseException`` for one that means none."""
    return from_text(timing.text, tz=timing.zone, app=app)


def _crontab(given: crontab) -> str:
    fields = [
        given._orig_minute, given._orig_hour, given._orig_day_of_month, given._orig_month_of_year,
        given._orig_day_of_week,
    ]  # fmt: skip
    if isinstance(given, cron) and (given._orig_second, given._orig_year) != (0, "*"):
        fields = [given._orig_second, *fields, given._orig_year]
    return " ".join(map(_field, fields))


def _field(given: Any) -> str:
    if isinstance(given, (int, str)):
        return "".join(str(given).split())
    return ",".join(map(str, sorted(given)))


def _interval(given: schedule) -> str:
    seconds = given.run_every.total_seconds()
    number = str(int(seconds)) if seconds == int(seconds) else f"{seconds:.6f}".rstrip("0")
    return f"@every {number}s" + (" relative" if given.relative else "")


def _clocked(given: clocked) -> str:
    return f"@at {given.maybe_make_aware(given.clocked_time).astimezone(timezone.utc).isoformat()}"


def _solar(given: solar) -> str:
    return f"@{given.event} {given.lat!r} {given.lon!r}"


_WRITERS: dict[type, Any] = {
    crontab: _crontab, cron: _crontab, schedule: _interval, clocked: _clocked, solar: _solar,
}  # fmt: skip
"""By class: a subclass may compute other times, and is left to Python."""
