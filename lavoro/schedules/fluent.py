"""Schedules in words: ``every("30 minutes")``, ``every("week").on("monday").at("09:00")``."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, tzinfo
from typing import Any

from lavoro.schedules.base import BaseSchedule
from lavoro.schedules.crontab import cron
from lavoro.schedules.interval import schedule
from lavoro.schedules.phrases import duration

_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_GROUPS = {"weekday": "mon-fri", "weekend": "sat,sun"}
_NAMES = {*_DAYS, *(day[:3] for day in _DAYS), *_GROUPS}
"""The words that mean days of the week."""
_CALENDAR = ("hour", "day", "week", "month", "year")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


class Every(BaseSchedule):
    """A schedule that is made of words; each word returns another one, and the whole is one of the other classes.

    Raises ``ValueError`` for words that mean nothing, or more than one schedule.
    """

    def __init__(self, period: str | float | timedelta, tz: str | tzinfo | None = None, **words: Any) -> None:
        super().__init__(tz=tz)
        self.period, self.words = period, words
        self.made = self._make()

    def on(self, *days: str | int) -> Every:
        """On these days: names of days of the week, ``weekday``, ``weekend``, or numbers of days of the month."""
        return self._with(on=days)

    def at(self, *times: str, tz: str | tzinfo | None = None) -> Every:
        """At these times of the day, ``09:00`` or ``09:00:30``; in every hour ``:15``."""
        return self._with(at=times, tz=tz)

    def in_months(self, *months: str) -> Every:
        """In these months only: ``jan``, ``july``."""
        return self._with(months=months)

    def _with(self, tz: str | tzinfo | None = None, **words: Any) -> Every:
        if twice := [word for word in words if word in self.words]:
            raise ValueError(f"{self!r} says {twice[0]!r} twice: make a schedule for each")
        return Every(self.period, tz or self._tz, **self.words, **words)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after this one, in UTC."""
        self.made.app, self.made.nowfun = self._app, self.nowfun
        return self.made.next_after(moment)

    # Making the schedule

    def _make(self) -> BaseSchedule:
        unit = str(self.period).strip().lower()
        on = list(self.words.get("on", ()))
        if unit in _NAMES:
            on, unit = [unit, *on], "week"
        if unit not in _CALENDAR:
            return self._interval()
        week = [_GROUPS.get(str(day).lower(), str(day)) for day in on if not str(day).isdigit()]
        month = [int(day) for day in on if str(day).isdigit()]
        if week and month:
            raise ValueError(f"{self!r} means two schedules, of days of the week and of the month: make one for each")
        minutes, hours, seconds = self._times(unit)
        first = {"month": [1], "year": [1]}.get(unit, "*")
        months = ",".join(self.words.get("months", ())) or ("1" if unit == "year" else "*")
        return cron(
            minutes, hours, ",".join(week) or ("1" if unit == "week" else "*"), month or first, months,
            second=seconds, tz=self._tz,
        )  # fmt: skip

    def _interval(self) -> BaseSchedule:
        if self.words:
            raise ValueError(
                f"{self!r} means two schedules, an interval and a time of the calendar: begin with every('day'),"
                " 'week', 'month' or the name of a day"
            )
        every = self.period
        return schedule(duration(every) if isinstance(every, str) else every)

    def _times(self, unit: str) -> tuple[Any, Any, Any]:
        """Return minutes, hours and seconds; several times must be one crontab."""
        texts = self.words.get("at") or ((":00",) if unit == "hour" else ("00:00",))
        if unit == "hour":
            found = [re.fullmatch(r":(\d{2})()()", text) for text in texts]
        else:
            found = [_CLOCK.fullmatch(text.strip()) for text in texts]
        if None in found:
            form = "':15'" if unit == "hour" else "'09:00' or '09:00:30'"
            raise ValueError(f"{texts[found.index(None)]!r} is no time of every({unit!r}): write it as {form}")
        parts = [match.groups() for match in found if match]
        if unit == "hour":
            return [int(minute) for minute, _, _ in parts], "*", 0
        if len({part[1:] for part in parts}) > 1:
            raise ValueError(f"{self!r} means several schedules, of other minutes: make one for each")
        return int(parts[0][1]), sorted({int(hour) for hour, _, _ in parts}), int(parts[0][2] or 0)

    def __repr__(self) -> str:
        words = "".join(f".{name}({', '.join(map(repr, values))})" for name, values in self.words.items())
        return f"every({self.period!r}){words}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Every):
            return NotImplemented
        return (self.period, self.words, self._tz) == (other.period, other.words, other._tz)

    __hash__ = None


def every(period: str | float | timedelta, *, tz: str | tzinfo | None = None) -> Every:
    """Return a schedule in words::

    every("30 minutes")
    every("day").at("09:00", "17:00", tz="Europe/Rome")
    every("weekday").at("07:30")
    every("month").on(1, 15).at("04:00")
    """
    return Every(period, tz)
