"""Celery's schedules as values: ``crontab``, ``schedule`` and the parser of crontab fields.

A schedule tells from the time of the last run whether the next one is due. Times without a zone are UTC; the fields of
a crontab are read in the application's time zone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, NamedTuple, NoReturn
from zoneinfo import ZoneInfo

from croniter import croniter

from lavoro.config import absent
from lavoro.runtime import current_app

Field = int | str | Iterable[int]
"""A field of a crontab: a number, a text such as ``*/15``, ``8-17``, ``mon-fri``, or several numbers."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMES = {**{name: number for number, name in enumerate(_DAYS)}, **{name: n for n, name in enumerate(_MONTHS, 1)}}
_LONGEST = {1: 31, 2: 29, 3: 31, 4: 30, 5: 31, 6: 30, 7: 31, 8: 31, 9: 30, 10: 31, 11: 30, 12: 31}
_PART = re.compile(r"(?:(?P<star>\*)|(?P<first>\w+)-(?P<last>\w+))(?P<slash>/(?P<step>\w*))?")
_UNITS = (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0), ("second", 1.0))
_INSTANT = timedelta(microseconds=1)


class ParseException(Exception):
    """A field of a crontab cannot be read."""


class schedstate(NamedTuple):
    """Whether a run is due, and the seconds until it is worth asking again."""

    is_due: bool
    next: float


class BaseSchedule:
    """A schedule; a subclass writes ``remaining_estimate`` and ``is_due``.

    ``nowfun`` returns the present time, by default the application's ``now``; ``app`` is by default the current one.
    """

    def __init__(self, nowfun: Callable[[], datetime] | None = None, app: Any = None) -> None:
        self.nowfun = nowfun
        self._app = app

    @property
    def app(self) -> Any:
        """The application: the time zone and the settings are its own."""
        return self._app if self._app is not None else current_app.get()

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property
    def tz(self) -> tzinfo:
        """The application's time zone."""
        zone: tzinfo = self.app.timezone
        return zone

    @property
    def utc_enabled(self) -> bool:
        """The setting ``enable_utc``."""
        return bool(self.app.conf["enable_utc"])

    def now(self) -> datetime:
        """Return the present time."""
        return self.nowfun() if self.nowfun is not None else self.app.now()

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """Return the time until the next run, negative when it is overdue."""
        raise NotImplementedError

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
        """Return whether a run is due, and the seconds until it is worth asking again."""
        raise NotImplementedError

    def maybe_make_aware(self, dt: datetime, naive_as_utc: bool = True) -> datetime:
        """Return the time with a zone: one without is UTC, or the application's time."""
        if dt.tzinfo is not None:
            return dt
        return dt.replace(tzinfo=timezone.utc).astimezone(self.tz) if naive_as_utc else dt.replace(tzinfo=self.tz)

    def to_local(self, dt: datetime) -> datetime:
        """Return the time in the machine's zone if ``enable_utc`` is off, else as it is."""
        return dt if self.utc_enabled else dt.astimezone()

    def __eq__(self, other: object) -> bool:
        return other.nowfun == self.nowfun if isinstance(other, BaseSchedule) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as in Celery: the fields may be changed


class schedule(BaseSchedule):
    """Runs every so many seconds; with ``relative`` at full days, hours or minutes, whichever the interval holds."""

    def __init__(
        self,
        run_every: float | timedelta | None = None,
        relative: bool = False,
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
    ) -> None:
        self.run_every: Any = timedelta(seconds=run_every) if isinstance(run_every, (int, float)) else run_every
        self.relative = relative
        super().__init__(nowfun, app)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """Return the time until the next run, negative when it is overdue."""
        last, now = self.maybe_make_aware(last_run_at), self.maybe_make_aware(self.now())
        return self._next(last) - now.astimezone(timezone.utc)

    def _next(self, last: datetime) -> datetime:
        start: datetime = last.astimezone(timezone.utc)
        end: datetime = start + self.run_every
        if not self.relative:
            return end
        if self.run_every >= timedelta(days=1):
            midnight = (last + self.run_every).replace(hour=0, minute=0, second=0, microsecond=0)  # days of the zone
            return min((time for time in _occurrences(midnight) if time > start), default=end)
        local = end.astimezone(last.tzinfo)
        if self.run_every < timedelta(minutes=1):
            return local.replace(microsecond=0).astimezone(timezone.utc)
        hours = self.run_every >= timedelta(hours=1)
        full = local.replace(minute=0 if hours else local.minute, second=0, microsecond=0)
        unit = timedelta(hours=1) if hours else timedelta(minutes=1)
        found = [time for base in (full, full + unit) for time in _occurrences(base) if time > start]
        return max((time for time in found if time <= end), default=min(found, default=end))

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Return whether a run is due, and the seconds until it is worth asking again."""
        last = self.maybe_make_aware(last_run_at)
        left = self.remaining_estimate(last).total_seconds()
        if left > 0:
            return schedstate(is_due=False, next=left)
        again = self.seconds
        if self.relative:
            now = self.maybe_make_aware(self.now()).astimezone(last.tzinfo)
            until_full = self.remaining_estimate(now).total_seconds()
            again = until_full if until_full > 0 else again
        return schedstate(is_due=True, next=again)

    @property
    def seconds(self) -> float:
        """The interval in seconds, at least 0."""
        return float(max(self.run_every.total_seconds(), 0))

    @property
    def human_seconds(self) -> str:
        """The interval for people: ``1.50 minutes``."""
        seconds = round(self.seconds, 2)
        for unit, length in _UNITS:
            if seconds >= length:
                count = seconds / length
                return f"{count:.2f} {unit}{'s' if count > 1 else ''}"
        return "now"

    def __repr__(self) -> str:
        return f"<freq: {self.human_seconds}>"

    def __eq__(self, other: object) -> bool:
        return bool(self.run_every == (other.run_every if isinstance(other, schedule) else other))

    __hash__ = None

    def __reduce__(self) -> Any:
        return type(self), (self.run_every, self.relative, self.nowfun)


class crontab_parser:
    """Reads a field of a crontab: ``*``, numbers, names, ranges (also past the end, ``fri-mon``), steps, lists.

    ``max_`` is how many values the field has, ``min_`` the first::

        crontab_parser(60).parse("*/15")        # {0, 15, 30, 45}
        crontab_parser(12, 1).parse("nov-feb")  # {11, 12, 1, 2}
    """

    ParseException = ParseException

    def __init__(self, max_: int = 60, min_: int = 0) -> None:
        self.max_ = max_
        self.min_ = min_

    def parse(self, spec: str) -> set[int]:
        """Return the values; raises ParseException for what is no field, ValueError for a value out of range."""
        return {value for part in spec.split(",") for value in self._values(part.strip())}

    def _values(self, part: str) -> list[int]:
        if not part:
            raise self.ParseException("empty part")
        found = _PART.fullmatch(part)
        if found is None:
            return [self._number(part)]
        values = (
            self._all() if found["star"] else self._range(self._number(found["first"]), self._number(found["last"]))
        )
        if found["slash"] and not found["step"]:
            raise self.ParseException("empty filter")
        return values[:: int(found["step"])] if found["step"] else values

    def _all(self) -> list[int]:
        return list(range(self.min_, self.min_ + self.max_))

    def _range(self, first: int, last: int) -> list[int]:
        if first <= last:
            return list(range(first, last + 1))
        return [*range(first, self.min_ + self.max_), *range(self.min_, last + 1)]

    def _number(self, text: str) -> int:
        if text.startswith("-"):
            raise self.ParseException("negative numbers not supported")
        try:
            number = int(text)
        except ValueError:
            if (name := text[:3].lower()) not in _NAMES:
                raise ValueError(f"Invalid weekday literal {text!r}.") from None
            number = _NAMES[name]
        if number >= self.min_ + self.max_:
            raise ValueError(f"Invalid end range: {number} > {self.min_ + self.max_ - 1}.")
        if number < self.min_:
            raise ValueError(f"Invalid beginning range: {number} < {self.min_}.")
        return number


class crontab(BaseSchedule):
    """Runs at the minutes whose fields all match; note that ``day_of_week`` is the third argument.

    A field is a number, several numbers, or a text (see ``crontab_parser``). Days must match both ``day_of_week``
    (Sunday is 0) and ``day_of_month``. Raises ValueError, TypeError, ParseException for wrong fields::

        crontab(minute=0, hour="*/3")
        crontab(minute=30, hour=7, day_of_week="mon-fri")
    """

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
        self.hour = _expanded(hour, 24)
        self.minute = _expanded(minute, 60)
        self.day_of_week = _expanded(day_of_week, 7)
        self.day_of_month = _expanded(day_of_month, 31, 1)
        self.month_of_year = _expanded(month_of_year, 12, 1)
        if not any(day <= _LONGEST[month] for month in self.month_of_year for day in self.day_of_month):
            raise ValueError(
                f"Invalid crontab: day_of_month {day_of_month!r} never occurs in month_of_year {month_of_year!r}."
            )
        super().__init__(**kwargs)

    @classmethod
    def from_string(cls, crontab: str) -> crontab:
        """Read cron's order: minute, hour, day of month, month, day of week."""
        minute, hour, day_of_month, month_of_year, day_of_week = crontab.split(" ")
        return cls(minute, hour, day_of_week, day_of_month, month_of_year)

    def remaining_delta(
        self, last_run_at: datetime, tz: str | tzinfo | None = None, ffwd: object = None
    ) -> tuple[datetime, timedelta, datetime]:
        """Return the last run and the time now, in the zone, and between them what leads from the last to the next run.

        Their sum is on the zone's clock: ``last + delta``. ``ffwd`` is Celery's, and not read.
        """
        zone = ZoneInfo(tz) if isinstance(tz, str) else tz or self.tz
        last = self.maybe_make_aware(last_run_at).astimezone(zone)
        return last, self._next_clock(last) - last, self.maybe_make_aware(self.now()).astimezone(zone)

    def _next_clock(self, last: datetime) -> datetime:
        """Return the next run by the clock of the zone."""
        fields = (self.minute, self.hour, self.day_of_month, self.month_of_year, self.day_of_week)
        text = " ".join(",".join(map(str, sorted(field))) for field in fields)
        following: datetime = croniter(text, last.replace(tzinfo=None), day_or=False).get_next(datetime)
        return following.replace(tzinfo=last.tzinfo)

    def _next(self, last: datetime) -> datetime:
        """Return the next run; of two equal times where clocks are set back, the first that is later than the last."""
        start = last.astimezone(timezone.utc)
        return min(time for time in _occurrences(self._next_clock(last)) if time > start)

    def remaining_estimate(self, last_run_at: datetime, ffwd: object = None) -> timedelta:
        """Return the time until the next run, negative when it is overdue."""
        last = self.maybe_make_aware(last_run_at).astimezone(self.tz)
        return self._next(last) - self.maybe_make_aware(self.now()).astimezone(timezone.utc)

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Return whether a run is due, and the seconds until the next.

        A run that is late by more than the setting ``beat_cron_starting_deadline`` (seconds) is passed over.
        """
        left = self.remaining_estimate(last_run_at).total_seconds()
        if left > 0:
            return schedstate(is_due=False, next=left)
        now = self.maybe_make_aware(self.now())
        deadline = self.app.conf.get("beat_cron_starting_deadline")
        due = True
        if deadline is not None and left < 0:
            since = now.astimezone(timezone.utc) - timedelta(seconds=deadline) - _INSTANT
            due = self.remaining_estimate(since).total_seconds() <= 0
        return schedstate(is_due=due, next=max(self.remaining_estimate(now).total_seconds(), 0))

    def __repr__(self) -> str:
        return (
            f"<crontab: {self._orig_minute} {self._orig_hour} {self._orig_day_of_month} {self._orig_month_of_year}"
            f" {self._orig_day_of_week} (m/h/dM/MY/d)>"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, crontab):
            return NotImplemented
        names = ("month_of_year", "day_of_month", "day_of_week", "hour", "minute", "nowfun")
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


class solar(BaseSchedule):
    """Celery's schedule of sunrise and sunset; this release refuses it."""

    def __init__(self, event: str, lat: float, lon: float, **kwargs: Any) -> None:
        _refuse("schedules.solar")


def maybe_schedule(s: Any, relative: bool = False, app: Any = None) -> Any:
    """Return a schedule: a number of seconds or a timedelta becomes one, a schedule is given the application."""
    if isinstance(s, (int, float, timedelta)):
        return schedule(s, relative, app=app)
    if s is not None:
        s.app = app
    return s


def _refuse(name: str) -> NoReturn:
    absent.missing(name)
    raise AssertionError(name)


def _occurrences(clock: datetime) -> list[datetime]:
    """Return when a clock of its zone shows this time: twice where clocks are set back.

    A time that is skipped, where clocks are set forward, comes as much later as they are set.
    """
    first, second = (clock.replace(fold=fold).astimezone(timezone.utc) for fold in (0, 1))
    return [first, second] if first < second else [first]


def _expanded(field: Any, max_: int, min_: int = 0) -> set[int]:
    if isinstance(field, int):
        values = {field}
    elif isinstance(field, str):
        values = crontab_parser(max_, min_).parse(field)
    elif isinstance(field, Iterable):
        values = set(field)
    else:
        raise TypeError(
            "Argument cronspec needs to be of any of the following types: int, str, or an iterable type."
            f" {type(field)!r} was given."
        )
    for number in values:
        if number >= min_ + max_ or number < min_:
            raise ValueError(
                f"Invalid crontab pattern.  Valid range is {min_}-{min_ + max_ - 1}. '{number}' was found."
            )
    return values
