"""The clock of a zone and its instants: an hour that is skipped has none, an hour that comes twice has two."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo

UTC = timezone.utc
SECOND = timedelta(seconds=1)
DAY = timedelta(hours=26)
"""More than clocks have ever been set forward or back."""


def instants(clock: datetime, zone: tzinfo) -> list[datetime]:
    """Return the instants at which the zone's clock shows this time (without zone): none, one, or two."""
    found = [clock.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    shown = [instant for instant in found if instant.astimezone(zone).replace(tzinfo=None, fold=0) == clock]
    return shown[:1] if len(set(shown)) == 1 else shown


def shown(instant: datetime, zone: tzinfo) -> datetime:
    """Return the time that the zone's clock shows then, without zone."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def change(begin: datetime, end: datetime, zone: tzinfo) -> datetime | None:
    """Return when the clock is set between two instants, to the second; None if it shows no sign of that."""
    before = begin.astimezone(zone).utcoffset()
    if end <= begin or end.astimezone(zone).utcoffset() == before:
        return None
    low, high = 0, int((end - begin) / SECOND) + 1
    while high - low > 1:
        middle = (low + high) // 2
        if (begin + middle * SECOND).astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return (begin + high * SECOND).replace(microsecond=0)


def end_of_gap(clock: datetime, zone: tzinfo) -> datetime:
    """Return when the clock is set forward past this time, which it never shows."""
    late, early = (clock.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return change(early, late, zone) or late
