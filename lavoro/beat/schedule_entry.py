"""An entry as a scheduler class keeps it: what is sent, when, and when it was sent last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import total_ordering
from typing import Any

from lavoro.schedules import maybe_schedule
from lavoro.text.printable import described

_EDITABLE = ("task", "schedule", "args", "kwargs", "options")


@total_ordering
class ScheduleEntry:
    """An entry of a ``Scheduler``; a subclass may keep it elsewhere, and decide itself whether it is due.

    Without ``last_run_at`` it counts as sent now: an interval begins with it. Two entries are equal if they send the
    same at the same times.
    """

    name: str | None = None
    schedule: Any = None
    args: Any = None
    kwargs: Any = None
    options: Any = None
    last_run_at: datetime | None = None
    total_run_count = 0

    def __init__(
        self, name: str | None = None, task: str | None = None, last_run_at: datetime | None = None,
        total_run_count: int | None = None, schedule: Any = None, args: Any = (),
        kwargs: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None, relative: bool = False,
        app: Any = None,
    ) -> None:  # fmt: skip
        self.app, self.name, self.task, self.args = app, name, task, args
        self.kwargs, self.options = kwargs or {}, options or {}
        self.schedule = maybe_schedule(schedule, relative, app=app)
        self.last_run_at = last_run_at or self.default_now()
        self.total_run_count = total_run_count or 0

    def default_now(self) -> datetime:
        """Return the present time, in the zone of the schedule or of the application."""
        return (self.schedule or self.app).now()  # type: ignore[no-any-return]

    _default_now = default_now

    def next(self, last_run_at: datetime | None = None) -> Any:
        """Return the entry as it is after one more run, at this time or now."""
        sent = {"last_run_at": last_run_at or self.default_now(), "total_run_count": self.total_run_count + 1}
        return type(self)(**{**dict(self), **sent})

    __next__ = _next_instance = next

    def is_due(self) -> Any:
        """Return whether it is due, and the seconds until it is worth asking again."""
        return self.schedule.is_due(self.last_run_at)

    def update(self, other: ScheduleEntry) -> None:
        """Take over the definition of another entry; when this one was sent stays."""
        vars(self).update({name: getattr(other, name) for name in _EDITABLE})

    def editable_fields_equal(self, other: Any) -> bool:
        """Return whether another entry has the same definition."""
        return all(getattr(self, name) == getattr(other, name) for name in _EDITABLE)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(vars(self).items())

    def __eq__(self, other: object) -> bool:
        return self.editable_fields_equal(other) if isinstance(other, ScheduleEntry) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as in Celery: it may be changed

    def __lt__(self, other: object) -> bool:
        return id(self) < id(other) if isinstance(other, ScheduleEntry) else NotImplemented  # any order will do

    def __repr__(self) -> str:
        call = [*map(described, self.args or ()), *(f"{key}={described(value)}" for key, value in self.kwargs.items())]
        return f"<{type(self).__name__}: {self.name} {self.task}({', '.join(call)}) {self.schedule}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (
            self.name, self.task, self.last_run_at, self.total_run_count, self.schedule, self.args, self.kwargs,
            self.options,
        )  # fmt: skip
