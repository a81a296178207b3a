"""The next times of a crontab, against a reading of its fields minute by minute, around changes of the clock."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo, available_timezones

import pytest

from lavoro.schedules import crontab
from lavoro.schedules.zones import change

UTC = timezone.utc
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
BEGIN, YEARS = datetime(2024, 1, 1, tzinfo=UTC), 3
ZONES = sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith(("posix", "right", "Etc")))
FIELDS = {
    "minute": ["*", "0", "30", "*/15", "*/7", "5,20", "59", "0-10"],
    "hour": ["*", "*", "0", "1", "2", "3", "1-4", "*/2", "*/3", "23", "0,12"],
    "day_of_week": ["*", "*", "*", "sun", "mon-fri", "sat-mon"],
    "day_of_month": ["*", "*", "*", "25-31", "1", "*/2"],
    "month_of_year": ["*", "*", "3,10", "oct-apr", "*/3"],
}


def changes(zone: ZoneInfo) -> list[datetime]:
    """When the clock of the zone is set, in three years."""
    found = []
    for day in range(365 * YEARS):
        begin = BEGIN + day * DAY
        if at := change(begin, begin + DAY, zone):
            found.append(at)
    return found


def matches(every: crontab, clock: datetime) -> bool:
    return (
        clock.minute in every.minute
        and clock.hour in every.hour
        and clock.isoweekday() % 7 in every.day_of_week
        and clock.day in every.day_of_month
        and clock.month in every.month_of_year
    )


def read(every: crontab, begin: datetime, end: datetime, zone: ZoneInfo) -> list[datetime]:
    """Go through the minutes: each that matches is a run, but a certain hour that comes twice or never is one."""
    runs = []
    before = begin.astimezone(zone)
    for count in range(1, int((end - begin) / MINUTE) + 1):
        instant = begin + count * MINUTE
        clock = instant.astimezone(zone)
        skipped = clock.replace(tzinfo=None) - before.replace(tzinfo=None) - MINUTE
        gap = [before.replace(tzinfo=None) + n * MINUTE for n in range(1, int(skipped / MINUTE) + 1)]
        if len(every.hour) == 24:
            due = matches(every, clock)
        else:
            due = (matches(every, clock) and not clock.fold) or any(matches(every, each) for each in gap)
        if due:
            runs.append(instant)
        before = clock
    return runs


def asked(every: crontab, begin: datetime, end: datetime) -> list[datetime]:
    """Ask for the next time again and again."""
    runs, at = [], begin
    while (following := every.next_after(at)) is not None and following <= end:
        assert following > at
        runs.append(following)
        at = following
    return runs


def compare(zone: ZoneInfo, around: datetime, dice: random.Random) -> None:
    fields = {name: dice.choice(texts) for name, texts in FIELDS.items()}
    every = crontab(**fields, tz=zone)
    begin = around - timedelta(minutes=dice.randrange(60, 300))
    end = around + timedelta(minutes=dice.randrange(60, 300))
    assert asked(every, begin, end) == read(every, begin, end, zone), (zone, begin, every)


@pytest.mark.parametrize("name", ["Europe/Rome", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"])
def test_both_edges(name: str) -> None:
    dice, zone = random.Random(name), ZoneInfo(name)
    for around in changes(zone)[:4]:
        for _ in range(12):
            compare(zone, around, dice)


@pytest.mark.slow
@pytest.mark.parametrize("name", ZONES)
def test_every_zone(name: str) -> None:
    """Three years, around each change of the clock and at other times."""
    dice, zone = random.Random(name), ZoneInfo(name)
    others = [BEGIN + dice.random() * YEARS * 365 * DAY for _ in range(4)]
    for around in [*changes(zone), *(other.replace(second=0, microsecond=0) for other in others)]:
        for _ in range(10):
            compare(zone, around, dice)
