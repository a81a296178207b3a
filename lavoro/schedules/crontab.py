"""Crontabs: the times whose fields all match, by the clock of a zone."""

from __future__ import annotations

import copy
from collections.abc import Collection
from datetime import datetime, timedelta, tzinfo
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lavoro.schedules.base import BaseSchedule, schedstate, zone_of
from lavoro.schedules.crontab_fields import LONGEST, OUT_OF_RANGE, Field, expanded
from lavoro.schedules.zones import DAY, SECOND, UTC, change, end_of_gap, instants, shown

if TYPE_CHECKING:  # imported where a crontab is asked: that takes a twentieth of the start of each process
    from croniter import croniter

_SIZES = {
    "second": (60, 0), "minute": (60, 0), "hour": (24, 0), "day of month": (31, 1), "month": (12, 1),
    "day of week": (7, 0), "year": (130, 1970),
}  # fmt: skip
"""The number of values of each field, and the first."""
_FIELDS = tuple(_SIZES)
_NAMES = {5: _FIELDS[1:-1], 6: _FIELDS[:-1], 7: _FIELDS}
"""The fields of a text, by their number."""
_HOURS = 24
_INSTANT = timedelta(microseconds=1)


class crontab(BaseSchedule):
    """Runs at the minutes whose fields all match; note that ``day_of_week`` is the third argument.

    A field is a number, several numbers, or a text (see ``crontab_parser``). Days must match both ``day_of_week``
    (Sunday is 0) and ``day_of_month``. Raises ValueError, TypeError, ParseException for wrong fields::

        crontab(minute=0, hour="*/3")
        crontab(minute=30, hour=7, day_of_week="mon-fri", tz="Europe/Rome")

    Where clocks are set forward, a run of a skipped time comes at once. Where they are set back, a run of an hour that
    comes twice comes once. With all hours (``*``) runs follow the time that passes: they come in both hours.
    """

    second: Collection[int] = frozenset({0})
    """The seconds of the minutes."""
    year: Collection[int] | None = None
    """The years; None: all."""

    def __init__(
        self,
        minute: Field = "*",
        hour: Field = "*",
        day_of_week: Field = "*",
        day_of_month: Field = "*",
        month_of_year: Field = "*",
        **kwargs: Any,
    ) -> None:
        self._orig_minute = minute
        self._orig_hour = hour
        self._orig_day_of_week = day_of_week
        self._orig_day_of_month = day_of_month
        self._orig_month_of_year = month_of_year
        self._orig_kwargs = kwargs
        self.hour = expanded(hour, _HOURS)
        self.minute = expanded(minute, 60)
        self.day_of_week = expanded(day_of_week, 7)
        self.day_of_month = expanded(day_of_month, 31, 1)
        self.month_of_year = expanded(month_of_year, 12, 1)
        if not any(day <= LONGEST[month] for month in self.month_of_year for day in self.day_of_month):
            raise ValueError(
                f"Invalid crontab: day_of_month {day_of_month!r} never occurs in month_of_year {month_of_year!r}."
            )
        super().__init__(**kwargs)

    @classmethod
    def from_string(cls, crontab: str, **kwargs: Any) -> crontab:
        """Read cron's order: minute, hour, day of month, month, day of week.

        Six fields have the second before them, seven also the year behind them.
        """
        texts = crontab.split()
        if len(texts) not in _NAMES:
            raise ValueError(
                f"the crontab {crontab!r} has {len(texts)} fields: write 5 (minute, hour, day of month, month,"
                " day of week), 6 (the second first) or 7 (the year last)"
            )
        _check(crontab)
        seconds = texts.pop(0) if len(texts) > 5 else None
        years = texts.pop() if len(texts) > 5 else "*"
        minute, hour, day_of_month, month_of_year, day_of_week = texts
        fields = (minute, hour, day_of_week, day_of_month, month_of_year)
        if seconds is None:
            return cls(*fields, **kwargs)
        return cron(*fields, second=seconds, year=years, **kwargs)

    # The next time

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first matching time after this one, in UTC; None if there is none."""
        from croniter import CroniterBadDateError  # noqa: PLC0415

        zone, start = self.tz, self.maybe_make_aware(moment).astimezone(UTC)
        try:
            return self._next_of_all_hours(start, zone) if len(self.hour) == _HOURS else self._next(start, zone)
        except CroniterBadDateError:
            return None

    def _next(self, start: datetime, zone: tzinfo) -> datetime:
        """Return the next time of a crontab with certain hours: each time of the clock is one run."""
        clock = shown(start, zone)
        if start.astimezone(zone).fold and (back := change(start - DAY, start, zone)):
            clock = max(clock, shown(back - _INSTANT, zone))  # the times that come again have run
        following = self._match(clock)
        found = instants(following, zone)
        return found[0] if found else end_of_gap(following, zone)

    def _next_of_all_hours(self, start: datetime, zone: tzinfo) -> datetime:
        """Return the next instant at which the clock shows a matching time."""
        following = self._match(shown(start, zone))
        if not (found := instants(following, zone)):
            gap = end_of_gap(following, zone)
            found = instants(self._match(shown(gap, zone) - SECOND), zone)
        first = min((instant for instant in found if instant > start), default=found[-1])
        back = change(start, min(first, start + DAY), zone)
        if back is None:
            return first
        again = self._match(shown(back, zone) - SECOND)  # the times from the change on
        return min([first, *(instant for instant in instants(again, zone) if instant >= back)])

    def _match(self, clock: datetime) -> datetime:
        """Return the next matching time of a clock without zone."""
        matches = copy.copy(self._matches)
        matches.set_current(clock.replace(microsecond=0), force=True)
        return matches.get_next(datetime)

    @cached_property
    def _matches(self) -> croniter:
        from croniter import croniter  # noqa: PLC0415

        fields = (self.minute, self.hour, self.day_of_month, self.month_of_year, self.day_of_week)
        texts = [",".join(map(str, sorted(field))) for field in fields]
        if self.second != crontab.second or self.year is not None:
            texts.append(",".join(map(str, sorted(self.second))))
        if self.year is not None:
            texts.append(",".join(map(str, sorted(self.year))))
        return croniter(" ".join(texts), day_or=False)

    # As Celery asks

    def remaining_delta(
        self, last_run_at: datetime, tz: str | tzinfo | None = None, ffwd: object = None
    ) -> tuple[datetime, timedelta, datetime]:
        """Return the last run and the time now, in the zone, and between them what leads from the last to the next run.

        Their sum is on the zone's clock: ``last + delta``. ``ffwd`` is Celery's, and not read.
        """
        zone = zone_of(tz) or self.tz
        last = self.maybe_make_aware(last_run_at).astimezone(zone)
        following = self._match(last.replace(tzinfo=None)).replace(tzinfo=last.tzinfo)
        return last, following - last, self.maybe_make_aware(self.now()).astimezone(zone)

    def remaining_estimate(self, last_run_at: datetime, ffwd: object = None) -> timedelta:
        """Return the time until the next run, negative when it is overdue; ``timedelta.max`` if none comes."""
        return super().remaining_estimate(last_run_at)

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Return whether a run is due, and the seconds until the next.

        A run that is late by more than the setting ``beat_cron_starting_deadline`` (seconds) is passed over.
        """
        due, following = super().is_due(last_run_at)
        deadline = self.app.conf.seconds("beat_cron_starting_deadline") if due else None
        if deadline is not None:
            since = self.maybe_make_aware(self.now()).astimezone(UTC) - timedelta(seconds=deadline) - _INSTANT
            due = self.remaining_estimate(since).total_seconds() <= 0
        return schedstate(is_due=due, next=following)

    def __repr__(self) -> str:
        return (
            f"<crontab: {self._orig_minute} {self._orig_hour} {self._orig_day_of_month} {self._orig_month_of_year}"
            f" {self._orig_day_of_week} (m/h/dM/MY/d)>"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, crontab):
            return NotImplemented
        names = ("second", "year", "month_of_year", "day_of_month", "day_of_week", "hour", "minute", "nowfun", "_tz")
        return all(getattr(self, name) == getattr(other, name) for name in names)

    __hash__ = None

    def __reduce__(self) -> Any:
        fields = (
            self._orig_minute, self._orig_hour, self._orig_day_of_week, self._orig_day_of_month,
            self._orig_month_of_year,
        )  # fmt: skip
        return type(self), fields, self._orig_kwargs

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._orig_kwargs = dict(state)
        BaseSchedule.__init__(self, **state)


class cron(crontab):
    """A crontab with seconds and years::

    cron("*", "*", second="*/15")
    """

    def __init__(self, *fields: Field, second: Field = 0, year: Field = "*", **kwargs: Any) -> None:
        super().__init__(*fields, **kwargs)
        self._orig_second, self._orig_year = second, year
        self.second = frozenset(expanded(second, *_SIZES["second"]))
        self.year = None if year == "*" else frozenset(expanded(year, *_SIZES["year"]))

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, second {self._orig_second}, year {self._orig_year}>"

    def __reduce__(self) -> Any:
        _, fields, kwargs = super().__reduce__()
        return _cron, (fields, {**kwargs, "second": self._orig_second, "year": self._orig_year})


def _cron(fields: tuple[Field, ...], kwargs: dict[str, Any]) -> cron:
    return cron(*fields, **kwargs)


def _check(text: str) -> None:
    """Raise the error of the first wrong field, with its position in the text."""
    fields = text.split()
    names = _NAMES[len(fields)]
    for place, (name, field) in enumerate(zip(names, fields, strict=True), 1):
        start = f"field {place} ({name}) of the crontab {text!r} is {field!r}: "
        size, first = _SIZES[name]
        try:
            if (name, field) != ("year", "*"):
                expanded(field, size, first)
        except Exception as error:
            if str(error).startswith(OUT_OF_RANGE):
                raise ValueError(f"{start}must be {first} to {first + size - 1}") from None
            raise type(error)(f"{start}{error}") from None
