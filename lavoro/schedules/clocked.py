"""A schedule of one time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from lavoro.schedules.base import BaseSchedule


class clocked(BaseSchedule):
    """Runs once, at this time::

    clocked(datetime(2027, 1, 1, tzinfo=timezone.utc))
    """

    def __init__(
        self, clocked_time: datetime, nowfun: Callable[[], datetime] | None = None, app: Any = None, **options: Any
    ) -> None:
        super().__init__(nowfun, app, **options)
        self.clocked_time = clocked_time

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the time if it is later than this one."""
        time = self.maybe_make_aware(self.clocked_time).astimezone(timezone.utc)
        return time if time > self.maybe_make_aware(moment) else None

    def __repr__(self) -> str:
        return f"<clocked: {self.clocked_time}>"

    def __eq__(self, other: object) -> bool:
        return self.clocked_time == other.clocked_time if isinstance(other, clocked) else NotImplemented

    __hash__ = None

    def __reduce__(self) -> Any:
        return type(self), (self.clocked_time, self.nowfun)
