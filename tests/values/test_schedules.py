"""Schedules: fields of a crontab, when it is due, and intervals, as in Celery."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from lavoro import Lavoro
from lavoro.exceptions import ImproperlyConfigured
from lavoro.schedules import (
    BaseSchedule,
    ParseException,
    clocked,
    crontab,
    crontab_parser,
    every,
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


def test_an_hour_that_is_skipped_runs_when_it_is() -> None:
    last = at("2026-03-28 02:30", ROME)
    every = crontab(minute=30, hour=2, nowfun=clock(last), app=in_zone("Europe/Rome"))
    assert last.astimezone(UTC) + every.remaining_estimate(last) == at("2026-03-29 01:00")


def test_every_minute_runs_through_both_edges() -> None:
    """Celery is silent for the hour that comes a second time."""
    each = crontab(tz=ROME)
    for begin in (at("2026-03-29 00:58"), at("2026-10-25 00:58")):
        times, moment = [], begin
        for _ in range(180):
            moment = each.next_after(moment)  # type: ignore[assignment]
            times.append(moment)
        assert times == [begin + timedelta(minutes=n) for n in range(1, 181)]


def test_a_zone_of_its_own() -> None:
    assert crontab(0, 9, tz="Europe/Rome").next_after(at("2026-07-01 00:00")) == at("2026-07-01 07:00")
    assert crontab(0, 9, tz="Europe/Rome") == crontab(0, 9, tz=ROME) != crontab(0, 9)
    with pytest.raises(ValueError, match="the zone 'Europe/Roma' is not known"):
        crontab(tz="Europe/Roma")


def test_a_crontab_that_never_comes_again() -> None:
    past = crontab.from_string("0 0 0 1 1 * 2020", tz="UTC")
    assert past.next_after(at("2026-01-01 00:00")) is None
    assert past.remaining_estimate(at("2026-01-01 00:00")) == timedelta.max
    assert past.is_due(at("2026-01-01 00:00")) == (False, timedelta.max.total_seconds())


@pytest.mark.parametrize(
    ("text", "moment", "following"),
    [
        ("*/15 * * * *", "2026-05-01 10:16", "2026-05-01 10:30"),
        ("*/15 * * * * *", "2026-05-01 10:16:16", "2026-05-01 10:16:30"),
        ("30 0 9 * * mon", "2026-05-01 10:16", "2026-05-04 09:00:30"),
        ("0 0 0 29 2 * 2027-2033", "2026-05-01 10:16", "2028-02-29 00:00"),
    ],
)
def test_five_six_and_seven_fields(text: str, moment: str, following: str) -> None:
    every = crontab.from_string(text, tz="UTC")
    assert every.next_after(at(moment)) == at(following)
    for twin in (pickle.loads(pickle.dumps(every)), copy.deepcopy(every)):
        assert twin == every
        assert (twin.next_after(at(moment)), repr(twin)) == (at(following), repr(every))
    assert every.next_after(at(moment) + timedelta(microseconds=1)) == at(following)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("0 25 * * *", ValueError, "field 2 (hour) of the crontab '0 25 * * *' is '25': must be 0 to 23"),
        ("0 0 0 1 13 *", ValueError, "field 5 (month) of the crontab '0 0 0 1 13 *' is '13': must be 1 to 12"),
        ("61 0 0 1 1 *", ValueError, "field 1 (second) of the crontab"),
        ("0 0 0 1 1 * 1066", ValueError, "field 7 (year) of the crontab"),
        ("0 0 1,,2 * *", ParseException, "field 3 (day of month) of the crontab '0 0 1,,2 * *' is '1,,2': empty part"),
        ("0 0 * *", ValueError, "the crontab '0 0 * *' has 4 fields: write 5"),
    ],
)
def test_a_wrong_text_names_its_field(text: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as raised:
        crontab.from_string(text)
    assert words in str(raised.value)


def test_a_next_time_takes_less_than_a_millisecond() -> None:
    every, moment = crontab("*/7", "8-18", "mon-fri", tz="Europe/Rome"), at("2026-05-01 18:00")
    every.next_after(moment)
    began = time.process_time()
    for _ in range(100):
        moment = every.next_after(moment)  # type: ignore[assignment]
    assert time.process_time() - began < 0.1


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


def test_the_next_time_of_an_interval() -> None:
    assert schedule(0.1).next_after(at("2026-05-01 10:00")) == at("2026-05-01 10:00:00.100")
    assert schedule(90, relative=True, app=in_zone("UTC")).next_after(at("2026-05-01 10:10:20")) == at(
        "2026-05-01 10:11"
    )


def test_one_time() -> None:
    once = clocked(datetime(2027, 1, 1), nowfun=clock(at("2027-01-01 00:00:01")), app=in_zone("Europe/Rome"))
    assert once.next_after(at("2026-12-31 23:00")) == at("2027-01-01 00:00")
    assert once.next_after(at("2027-01-01 00:00")) is None
    assert once.is_due(at("2026-12-31 23:00")) == (True, timedelta.max.total_seconds())
    assert pickle.loads(pickle.dumps(clocked(at("2027-01-01 00:00")))) == clocked(at("2027-01-01 00:00"))


@pytest.mark.parametrize(
    ("text", "moment", "following"),
    [
        ("@hourly", "2026-05-01 10:10:20", "2026-05-01 11:00"),
        ("@Daily", "2026-05-01 10:10:20", "2026-05-02 00:00"),
        ("@weekly", "2026-05-01 10:10:20", "2026-05-03 00:00"),
        ("@monthly", "2026-05-01 10:10:20", "2026-06-01 00:00"),
        ("@yearly", "2026-05-01 10:10:20", "2027-01-01 00:00"),
        ("@every 90s", "2026-05-01 10:10:20", "2026-05-01 10:11:50"),
        ("@every 1h30m", "2026-05-01 10:10:20", "2026-05-01 11:40:20"),
        ("0 9 * * mon", "2026-05-01 10:10:20", "2026-05-04 09:00"),
    ],
)
def test_texts(text: str, moment: str, following: str) -> None:
    assert maybe_schedule(text, app=in_zone("UTC")).next_after(at(moment)) == at(following)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("@fortnightly", "'@fortnightly' is no schedule: use one of @hourly"),
        ("@every", "'' is no duration: write it as '90s'"),
        ("@every 3 moons", "'3 moons' is no duration"),
        ("@every 3", "'3' is no duration"),
        ("@every 1h!", "'1h!' is no duration"),
    ],
)
def test_texts_that_mean_nothing(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        maybe_schedule(text)


@pytest.mark.parametrize(
    ("words", "moment", "following"),
    [
        (every("30 minutes"), "2026-05-01 10:10:20", "2026-05-01 10:40:20"),
        (every(90), "2026-05-01 10:10:20", "2026-05-01 10:11:50"),
        (every("hour"), "2026-05-01 10:10:20", "2026-05-01 11:00"),
        (every("hour").at(":15", ":45"), "2026-05-01 10:20:20", "2026-05-01 10:45"),
        (every("day"), "2026-05-01 10:10:20", "2026-05-02 00:00"),
        (every("day").at("09:00", "17:00", tz="Europe/Rome"), "2026-05-01 10:10:20", "2026-05-01 15:00"),
        (every("day").at("09:00:30"), "2026-05-01 10:10:20", "2026-05-02 09:00:30"),
        (every("week"), "2026-05-01 10:10:20", "2026-05-04 00:00"),
        (every("week").on("tue", "friday").at("09:00"), "2026-05-01 10:10:20", "2026-05-05 09:00"),
        (every("weekday").at("07:30"), "2026-05-01 10:10:20", "2026-05-04 07:30"),
        (every("monday").at("07:30"), "2026-05-04 10:10:20", "2026-05-11 07:30"),
        (every("month").on(1, 15).at("04:00"), "2026-05-01 10:10:20", "2026-05-15 04:00"),
        (every("year").in_months("jul").on(4), "2026-05-01 10:10:20", "2026-07-04 00:00"),
    ],
    ids=repr,
)
def test_words(words: BaseSchedule, moment: str, following: str) -> None:
    words.app = in_zone("UTC")
    assert words.next_after(at(moment)) == at(following)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: every("30 minutes").at("09:00"), "every('30 minutes').at('09:00') means two schedules, an interval"),
        (lambda: every("day").at("09:00", "17:30"), "every('day').at('09:00', '17:30') means several schedules"),
        (lambda: every("day").at("09:00").at("10:00"), "every('day').at('09:00') says 'at' twice"),
        (lambda: every("month").on(1, "monday"), "means two schedules, of days of the week and of the month"),
        (lambda: every("day").at("9 o'clock"), "\"9 o'clock\" is no time of every('day')"),
        (lambda: every("hour").at("09:15"), "'09:15' is no time of every('hour'): write it as ':15'"),
        (lambda: every("fortnight"), "'fortnight' is no duration"),
        (lambda: every("day").at("25:00"), "'25' was found"),
        (lambda: every("week").on("lunchday"), "Invalid weekday literal 'lunchday'"),
    ],
)
def test_words_that_mean_nothing_or_too_much(made: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        made()


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


def test_a_next_time_of_a_schedule_that_knows_only_what_celery_asks() -> None:
    class Weird(BaseSchedule):
        def remaining_estimate(self, last_run_at: datetime) -> timedelta:
            return timedelta(seconds=5)

    own = Weird(nowfun=clock(at("2026-05-01 10:00")), app=in_zone("Europe/Rome"))
    assert own.next_after(at("2026-05-01 00:00")) == at("2026-05-01 10:00:05")


@pytest.mark.parametrize(
    ("event", "following"),
    [
        ("dawn_astronomical", "02:54:16"), ("dawn_civil", "04:11:00"), ("sunrise", "04:41:43"),
        ("solar_noon", "11:23:44"), ("sunset", "18:06:37"), ("dusk_nautical", "19:14:45"),
    ],
)  # fmt: skip
def test_the_sun(event: str, following: str) -> None:
    """The times are those of Celery 5.7.0 with ephem 4.2.1."""
    found = solar(event, 45.46, 9.19).next_after(at("2026-04-13 00:00"))
    assert found is not None
    assert abs(found - at(f"2026-04-13 {following}")) < timedelta(seconds=2)


def test_the_sun_of_the_far_north() -> None:
    """It does not set between May and July."""
    found = solar("sunset", 70.0, 25.0).next_after(at("2026-06-01 00:00"))
    assert found is not None
    assert (found.year, found.month) == (2026, 7)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("lunch", 0, 0), "Argument event 'lunch' is invalid"),
        (("sunset", 91, 0), "Argument lat must be within a range of -90 and 90."),
        (("sunset", 0, -181), "Argument lon must be within a range of -180 and 180."),
    ],
)
def test_wrong_places_of_the_sun(values: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        solar(*values)


def test_the_sun_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ephem", None)
    with pytest.raises(ImproperlyConfigured, match=re.escape("pip install 'lavoro[solar]'")):
        solar("sunset", 45.0, 9.0)


def test_a_schedule_without_an_application_makes_one() -> None:
    code = (
        "from datetime import datetime, timezone; from lavoro.schedules import crontab; at = datetime(2026, 5, 1,"
        " 12, 20, tzinfo=timezone.utc); print(crontab(minute=0, nowfun=lambda: at).is_due(at))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "schedstate(is_due=False, next=2400.0)\n"
