"""Schedules: fields of a crontab, when it is due, and intervals, as in Celery."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from lavoro import Lavoro
from lavoro.exceptions import NotSupported
from lavoro.schedules import (
    BaseSchedule,
    ParseException,
    crontab,
    crontab_parser,
    maybe_schedule,
    schedstate,
    schedule,
    solar,
)

UTC = timezone.utc
ROME = ZoneInfo("Europe/Rome")


def at(text: str, zone: Any = UTC) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def in_zone(zone: str, **settings: Any) -> Lavoro:
    return Lavoro("shop", set_as_current=False, timezone=zone, **settings)


def clock(now: datetime) -> Callable[[], datetime]:
    return lambda: now


# Fields


@pytest.mark.parametrize(
    ("length", "first", "text", "values"),
    [
        (60, 0, "*/15", {0, 15, 30, 45}),
        (24, 0, "22-4", {22, 23, 0, 1, 2, 3, 4}),
        (24, 0, "22-4/2", {22, 0, 2, 4}),
        (7, 0, "fri-mon", {5, 6, 0, 1}),
        (7, 0, "Monday,thursday", {1, 4}),
        (12, 1, "nov-feb", {11, 12, 1, 2}),
        (12, 1, "*/2", {1, 3, 5, 7, 9, 11}),
        (31, 1, "*/3", {1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31}),
        (60, 0, "1, 5,7-9", {1, 5, 7, 8, 9}),
    ],
)
def test_fields(length: int, first: int, text: str, values: set[int]) -> None:
    assert crontab_parser(length, first).parse(text) == values


@pytest.mark.parametrize(
    ("field", "error", "words"),
    [
        ("1,,2", ParseException, "empty part"),
        ("", ParseException, "empty part"),
        ("*/", ParseException, "empty filter"),
        ("1-5/", ParseException, "empty filter"),
        ("-20", ParseException, "negative numbers not supported"),
        ("60", ValueError, "Invalid end range: 60 > 59."),
        ("lunch", ValueError, "Invalid weekday literal 'lunch'."),
        ("*/0", ValueError, "slice step cannot be zero"),
        ("5/10", ValueError, "Invalid weekday literal '5/10'."),
        (60, ValueError, "Invalid crontab pattern.  Valid range is 0-59. '60' was found."),
        ([5, -1], ValueError, "Invalid crontab pattern.  Valid range is 0-59. '-1' was found."),
        (1.5, TypeError, "any of the following types: int, str, or an iterable type. <class 'float'> was given."),
    ],
)
def test_wrong_fields(field: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as raised:
        crontab(minute=field)
    assert words in str(raised.value)


def test_a_day_that_never_comes() -> None:
    with pytest.raises(ValueError, match="day_of_month 30 never occurs in month_of_year 2"):
        crontab(day_of_month=30, month_of_year=2)
    assert crontab(day_of_month=29, month_of_year=2).day_of_month == {29}


def test_a_crontab_keeps_its_fields_as_they_were_given() -> None:
    every = crontab(0, [1, 2], "mon-fri", {1}, "*/6")
    assert (every.minute, every.hour, every.day_of_week) == ({0}, {1, 2}, {1, 2, 3, 4, 5})
    assert (every.day_of_month, every.month_of_year) == ({1}, {1, 7})
    assert (every._orig_minute, every._orig_hour, every._orig_day_of_week) == (0, [1, 2], "mon-fri")
    assert (every._orig_day_of_month, every._orig_month_of_year) == ({1}, "*/6")
    assert repr(every) == "<crontab: 0 [1, 2] {1} */6 mon-fri (m/h/dM/MY/d)>"
    assert crontab.from_string("0 4 1 */6 mon") == crontab(0, 4, "mon", 1, "*/6")


def test_equality_and_copies() -> None:
    for each in (crontab(5, "*/2", nowfun=min), schedule(90, relative=True, nowfun=min)):
        for twin in (pickle.loads(pickle.dumps(each)), copy.copy(each), copy.deepcopy(each)):
            assert twin == each
            assert (twin.nowfun, repr(twin)) == (each.nowfun, repr(each))
    assert crontab(5) == crontab("5")
    assert crontab(5) != crontab(6)
    assert crontab(5) != crontab(5, nowfun=min)
    assert schedule(60) == timedelta(minutes=1) == schedule(60.0)
    assert schedule(60) != crontab()


# When it is due


@pytest.mark.parametrize(
    ("fields", "last", "following"),
    [
        ({}, "2026-05-01 10:30:15", "2026-05-01 10:31"),
        ({"minute": 30}, "2026-05-01 10:30:00", "2026-05-01 11:30"),
        ({"minute": 0, "hour": "*/3"}, "2026-05-01 22:10", "2026-05-02 00:00"),
        ({"minute": 30, "hour": 7, "day_of_week": "mon"}, "2026-05-04 07:30", "2026-05-11 07:30"),
        ({"minute": 0, "hour": 0, "day_of_month": "13", "day_of_week": "fri"}, "2026-05-01 00:00", "2026-11-13 00:00"),
        ({"minute": 0, "hour": 0, "day_of_month": 29, "month_of_year": 2}, "2026-05-01 00:00", "2028-02-29 00:00"),
        ({"minute": 0, "hour": 0, "day_of_month": 31}, "2026-05-31 00:00", "2026-07-31 00:00"),
    ],
)
def test_the_next_run_of_a_crontab(fields: dict[str, Any], last: str, following: str) -> None:
    now = at(last) + timedelta(seconds=1)
    every = crontab(**fields, nowfun=clock(now), app=in_zone("UTC"))
    assert every.remaining_estimate(at(last)) == at(following) - now
    assert every.is_due(at(last)) == (False, (at(following) - now).total_seconds())
    start, delta, present = every.remaining_delta(at(last))
    assert (start + delta, present) == (at(following), now)


def test_a_crontab_that_is_due_tells_when_to_ask_again() -> None:
    every = crontab(minute=0, nowfun=clock(at("2026-05-01 12:20")), app=in_zone("UTC"))
    assert every.is_due(at("2026-05-01 10:10")) == schedstate(is_due=True, next=40 * 60)
    assert every.is_due(datetime(2026, 5, 1, 12, 10)) == schedstate(is_due=False, next=40 * 60)


@pytest.mark.parametrize(("deadline", "due"), [(None, True), (1199, False), (1200, True)])
def test_a_run_that_is_too_late_is_passed_over(deadline: int | None, due: bool) -> None:
    app = in_zone("UTC", beat_cron_starting_deadline=deadline)
    every = crontab(minute=0, nowfun=clock(at("2026-05-01 12:20")), app=app)
    assert every.is_due(at("2026-05-01 10:10")) == (due, 40 * 60)


def test_the_fields_are_read_in_the_zone_of_the_application() -> None:
    every = crontab(minute=0, hour=4, nowfun=clock(at("2026-07-01 00:00")), app=in_zone("Europe/Rome"))
    assert every.remaining_estimate(at("2026-07-01 00:00")) == timedelta(hours=2)


def test_an_hour_that_comes_twice_runs_in_both_and_never_for_ever() -> None:
    """Where clocks are set back, Celery takes the next run for the first of both times: it is due again at once."""
    second = at("2026-10-25 02:10", ROME).replace(fold=1)
    every = crontab(minute="*/30", nowfun=clock(second.astimezone(UTC)), app=in_zone("Europe/Rome"))
    assert every.is_due(second) == (False, 20 * 60)
    assert every.is_due(second.replace(fold=0)) == (True, 20 * 60)


def test_an_hour_that_is_skipped_runs_after_it() -> None:
    last = at("2026-03-28 02:30", ROME)
    every = crontab(minute=30, hour=2, nowfun=clock(last), app=in_zone("Europe/Rome"))
    assert last.astimezone(UTC) + every.remaining_estimate(last) == at("2026-03-29 01:30")


# Intervals


def test_an_interval() -> None:
    now = at("2026-05-01 10:00:10")
    every = schedule(30, nowfun=clock(now), app=in_zone("UTC"))
    assert (every.seconds, every.human_seconds, repr(every)) == (30, "30.00 seconds", "<freq: 30.00 seconds>")
    assert every.is_due(now - timedelta(seconds=10)) == (False, 20)
    assert every.is_due(now - timedelta(seconds=30)) == (True, 30)
    assert schedule(90).human_seconds == "1.50 minutes"
    assert schedule(-5).seconds == 0


@pytest.mark.parametrize(
    ("seconds", "left"), [(90, 60 - 20), (5400, 3600 - 620), (86400, 86400 - 10 * 3600 - 620), (30.5, 30)]
)
def test_a_relative_interval_ends_at_a_full_unit(seconds: float, left: float) -> None:
    now = at("2026-05-01 10:10:20")
    every = schedule(seconds, relative=True, nowfun=clock(now), app=in_zone("UTC"))
    assert every.remaining_estimate(now) == timedelta(seconds=left)


def test_what_becomes_a_schedule() -> None:
    app = in_zone("UTC")
    assert maybe_schedule(None) is None
    assert maybe_schedule(2.5, app=app) == schedule(2.5)
    assert maybe_schedule(timedelta(days=1), relative=True, app=app).relative
    every = crontab()
    assert maybe_schedule(every, app=app) is every
    assert every.app is app


def test_a_schedule_of_ones_own() -> None:
    class Weird(BaseSchedule):
        def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
            return True, 5.0

    own = Weird(nowfun=clock(at("2026-05-01 10:00")), app=in_zone("Europe/Rome"))
    assert own.now() == at("2026-05-01 10:00")
    assert own.is_due(own.now()) == (True, 5.0)
    assert (own.tz, own.utc_enabled) == (ROME, True)
    assert own.maybe_make_aware(datetime(2026, 7, 1)) == at("2026-07-01 02:00", ROME)
    with pytest.raises(NotImplementedError):
        BaseSchedule(app=own.app).is_due(own.now())


def test_the_sun_is_refused_with_a_sentence() -> None:
    with pytest.raises(NotSupported, match=r"^schedules.solar: sunrise and sunset are not part"):
        solar("sunset", 45.0, 9.0)


def test_a_schedule_without_an_application_makes_one() -> None:
    code = (
        "from datetime import datetime, timezone; from lavoro.schedules import crontab; at = datetime(2026, 5, 1,"
        " 12, 20, tzinfo=timezone.utc); print(crontab(minute=0, nowfun=lambda: at).is_due(at))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "schedstate(is_due=False, next=2400.0)\n"
