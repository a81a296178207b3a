"""Answers from the history: how many tasks ended in each minute, hour or day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from lavoro.exceptions import InspectorError
from lavoro.inspector.filters import pattern_of, texts_of, time_of
from lavoro.inspector.values import HistoryPoint
from lavoro.store import history
from lavoro.store.database import Database
from lavoro.store.history import EPOCH, KEPT, PERIODS, Sums, Wanted

SHOWN = {"minute": dt.timedelta(hours=1), "hour": dt.timedelta(days=1), "day": dt.timedelta(days=30)}
"""The time for which a period is returned unless another one is asked for."""


def points(database: Database, period: str, by: str | None, given: Mapping[str, Any]) -> tuple[HistoryPoint, ...]:
    """Read a part of the history."""
    wanted = _wanted(period, by, given)
    found: dict[tuple[dt.datetime, str | None], list[Sums]] = {}
    if by is None:
        found = {(at, None): [] for at in _times(wanted, history.counted_until(database))}
    for sums in history.read(database, wanted):
        found.setdefault((sums.at, sums.group), []).append(sums)
    return tuple(_point(at, group, sums) for (at, group), sums in sorted(found.items(), key=lambda each: each[0][0]))


def _wanted(period: str, by: str | None, given: Mapping[str, Any]) -> Wanted:
    if period not in PERIODS:
        raise InspectorError(f"period is one of {', '.join(PERIODS)}, not {period!r}")
    if by not in (None, "queue", "name"):
        raise InspectorError(f"by is queue or name, or left out, not {by!r}")
    now = dt.datetime.now(dt.timezone.utc)
    until = time_of("until", given) or now + dt.timedelta(days=1)
    since = time_of("since", given) or min(until, now) - SHOWN[period]
    if since >= until:
        raise InspectorError(f"since={since} is not before until={until}: there is no history in between")
    since = max(since, now - dt.timedelta(seconds=KEPT[period]))
    return Wanted(
        period, since - (since - EPOCH) % dt.timedelta(seconds=PERIODS[period]), until, texts_of("queue", given),
        texts_of("state", given), pattern_of(given.get("name")), by,
    )  # fmt: skip


def _times(wanted: Wanted, counted: dt.datetime) -> Iterator[dt.datetime]:
    """Yield the periods of which at least a minute is counted."""
    at = wanted.since
    while at < min(wanted.until, counted):
        yield at
        at += dt.timedelta(seconds=PERIODS[wanted.period])


def _point(at: dt.datetime, group: str | None, sums: list[Sums]) -> HistoryPoint:
    return HistoryPoint(
        at, group, {each.state: each.tasks for each in sums},
        sum(each.retries for each in sums), sum(each.crashes for each in sums),
        sum(each.runtime for each in sums), sum(each.waited for each in sums),
        max((each.longest for each in sums), default=0.0),
    )  # fmt: skip
