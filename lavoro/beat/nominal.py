"""The nominal times of a stored schedule: those that come, and those between two times."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from typing import Any

from lavoro.beat.planning import next_after, upcoming
from lavoro.exceptions import ScheduleError
from lavoro.schedules.entry import Entry
from lavoro.schedules.interval import schedule as interval
from lavoro.schedules.texts import Timing, schedule_of
from lavoro.schedules.zones import UTC
from lavoro.store.entries import StoredSchedule

_INSTANT = dt.timedelta(microseconds=1)


def schedule_as_stored(app: Any, stored: StoredSchedule, code: Entry | None) -> Any:
    """Return the times of a schedule, of its text or its code; raises ``ScheduleError`` for a text that means none."""
    if code is not None:
        return code.schedule
    try:
        return schedule_of(Timing(stored.timing, stored.zone), app)
    except Exception as error:
        raise ScheduleError(f"the schedule {stored.name!r} has no times: {error}") from error


def upcoming_of(app: Any, stored: StoredSchedule, code: Entry | None) -> Iterator[dt.datetime]:
    """Yield the next times of a schedule, until it ends."""
    schedule = schedule_as_stored(app, stored, code)
    now = dt.datetime.now(UTC)
    times: Iterator[dt.datetime]
    if stored.next_at is not None:
        times = itertools.chain([stored.next_at.astimezone(UTC)], upcoming(schedule, stored.next_at.astimezone(UTC)))
    elif stored.ended:
        return
    else:
        start = stored.starts_at.astimezone(UTC) if stored.starts_at is not None else now
        times = upcoming(schedule, max(start - _INSTANT, now))
    left = None if stored.most_runs is None else max(0, stored.most_runs - stored.runs)
    for at in itertools.islice(times, left):
        if stored.ends_at is not None and at > stored.ends_at:
            return
        yield at


def between(schedule: Any, stored: StoredSchedule, start: dt.datetime, end: dt.datetime) -> Iterator[dt.datetime]:
    """Yield the times from ``start`` to ``end`` of the present definition.

    Those of an interval lie in whole intervals before and after a tick of it.
    """
    if stored.starts_at is not None:
        start = max(start, stored.starts_at)
    if stored.ends_at is not None:
        end = min(end, stored.ends_at)
    start = start.astimezone(UTC)
    if type(schedule) is interval and not schedule.relative:
        anchor = (stored.next_at or stored.last_at or stored.since).astimezone(UTC)
        first: dt.datetime | None = anchor - (anchor - start) // schedule.run_every * schedule.run_every
    else:
        first = next_after(schedule, start - _INSTANT, end)
    while first is not None and first <= end:
        yield first
        first = next_after(schedule, first, end)
