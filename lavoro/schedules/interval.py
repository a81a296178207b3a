"""Schedules of a fixed interval."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any

from lavoro.schedules.base import BaseSchedule, schedstate
from lavoro.schedules.times import humanize_seconds
from lavoro.schedules.zones import UTC, end_of_gap, instants


class schedule(BaseSchedule):
    """Runs every so many seconds; with ``relative`` at full days, hours or minutes, whichever the interval holds."""

    def __init__(
        self,
        run_every: float | timedelta | None = None,
        relative: bool = False,
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
        **options: Any,
    ) -> None:
        self.run_every: Any = timedelta(seconds=run_every) if isinstance(run_every, (int, float)) else run_every
        self.relative = relative
        super().__init__(nowfun, app, **options)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the end of the interval that begins at this time, in UTC; with ``relative`` a full unit."""
        last = self.maybe_make_aware(moment)
        start: datetime = last.astimezone(UTC)
        end: datetime = start + self.run_every
        return self._full_unit(last, start, end) if self.relative else end

    def _full_unit(self, last: datetime, start: datetime, end: datetime) -> datetime:
        zone = last.tzinfo or UTC
        if self.run_every >= timedelta(days=1):
            midnight = (last + self.run_every).replace(hour=0, minute=0, second=0, microsecond=0)  # days of the zone
            return min((time for time in _times(midnight, zone) if time > start), default=end)
        local = end.astimezone(zone)
        if self.run_every < timedelta(minutes=1):
            return local.replace(microsecond=0).astimezone(UTC)
        hours = self.run_every >= timedelta(hours=1)
        full = local.replace(minute=0 if hours else local.minute, second=0, microsecond=0)
        unit = timedelta(hours=1) if hours else timedelta(minutes=1)
        found = [time for base in (full, full + unit) for time in _times(base, zone) if time > start]
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
        return humanize_seconds(self.seconds)

    def __repr__(self) -> str:
        return f"<freq: {self.human_seconds}>"

    def __eq__(self, other: object) -> bool:
        return bool(self.run_every == (other.run_every if isinstance(other, schedule) else other))

    __hash__ = None

    def __reduce__(self) -> Any:
        return type(self), (self.run_every, self.relative, self.nowfun)


def _times(local: datetime, zone: tzinfo) -> list[datetime]:
    """Return the instants at which the clock shows this time; the end of the gap for a time that is skipped."""
    clock = local.replace(tzinfo=None, fold=0)
    return instants(clock, zone) or [end_of_gap(clock, zone)]
