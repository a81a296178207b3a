"""The base of all schedules, and of an application's own ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lavoro.runtime import current_app


class schedstate(NamedTuple):
    """Whether a run is due, and the seconds until it is worth asking again."""

    is_due: bool
    next: float


class BaseSchedule:
    """A schedule; a subclass writes ``next_after``, or ``remaining_estimate`` and ``is_due`` as with Celery.

    ``nowfun`` returns the present time, by default the application's ``now``; ``app`` is by default the current one.
    ``tz`` is a zone or its name, by default the application's.
    """

    def __init__(
        self, nowfun: Callable[[], datetime] | None = None, app: Any = None, *, tz: str | tzinfo | None = None
    ) -> None:
        self.nowfun = nowfun
        self._app = app
        self._tz = zone_of(tz)

    @property
    def app(self) -> Any:
        """The application: the settings are its own, and the zone unless the schedule has one."""
        return self._app if self._app is not None else current_app.get()

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property
    def tz(self) -> tzinfo:
        """The zone of the schedule, or else of the application."""
        zone: tzinfo = self._tz if self._tz is not None else self.app.timezone
        return zone

    @tz.setter
    def tz(self, tz: str | tzinfo | None) -> None:
        self._tz = zone_of(tz)

    @property
    def utc_enabled(self) -> bool:
        """The setting ``enable_utc``, unless it is assigned."""
        assigned: bool | None = vars(self).get("utc_enabled")
        return bool(self.app.conf["enable_utc"]) if assigned is None else assigned

    @utc_enabled.setter
    def utc_enabled(self, enabled: bool) -> None:
        vars(self)["utc_enabled"] = enabled

    def now(self) -> datetime:
        """Return the present time."""
        return self.nowfun() if self.nowfun is not None else self.app.now()

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after this one, in UTC; None if there is none."""
        now = self.maybe_make_aware(self.now())
        return (now + self.remaining_estimate(moment)).astimezone(timezone.utc)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """Return the time until the next run, negative when it is overdue; ``timedelta.max`` if none comes."""
        if type(self).next_after is BaseSchedule.next_after:
            raise NotImplementedError
        following = self.next_after(self.maybe_make_aware(last_run_at))
        if following is None:
            return timedelta.max
        return following - self.maybe_make_aware(self.now()).astimezone(timezone.utc)

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
        """Return whether a run is due, and the seconds until it is worth asking again."""
        left = self.remaining_estimate(last_run_at).total_seconds()
        if left > 0:
            return schedstate(is_due=False, next=left)
        return schedstate(is_due=True, next=max(self.remaining_estimate(self.now()).total_seconds(), 0))

    def maybe_make_aware(self, dt: datetime, naive_as_utc: bool = True) -> datetime:
        """Return the time with a zone: one without is UTC, or a time of the schedule's zone."""
        if dt.tzinfo is not None:
            return dt
        return dt.replace(tzinfo=timezone.utc).astimezone(self.tz) if naive_as_utc else dt.replace(tzinfo=self.tz)

    def to_local(self, dt: datetime) -> datetime:
        """Return the time in the machine's zone if ``enable_utc`` is off, else as it is."""
        return dt if self.utc_enabled else dt.astimezone()

    def __eq__(self, other: object) -> bool:
        return other.nowfun == self.nowfun if isinstance(other, BaseSchedule) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as in Celery: the fields may be changed


def zone_of(tz: str | tzinfo | None) -> tzinfo | None:
    """Return the zone; raises ``ValueError`` for an unknown name."""
    if not isinstance(tz, str):
        return tz
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"the zone {tz!r} is not known: use a name such as 'Europe/Rome'") from None
