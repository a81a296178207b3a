"""`crontab` and `schedule` as values."""

import datetime as dt
import pickle

from celery.schedules import crontab, schedule
from record import attempt, say

POOLS = ()


def told(value):
    return [sorted(getattr(value, name)) for name in "minute hour day_of_week day_of_month month_of_year".split()]


def part_crontab():
    for label, args, kwargs in [
        ("default", (), {}),
        ("positional", ("0", "1", "mon", "2", "3"), {}),
        ("keywords", (), {"minute": "*/15", "hour": "8-17"}),
        ("names", (), {"day_of_week": "mon,friday", "month_of_year": "jan-mar"}),
        ("wraps", (), {"day_of_week": "fri-mon", "hour": "22-4"}),
        ("numbers", (), {"minute": 5, "hour": [1, 2]}),
        ("set", (), {"minute": {1, 2}}),
        ("steps", (), {"day_of_month": "*/3", "month_of_year": "1-12/2"}),
        ("too large", (), {"minute": "60"}),
        ("seven", (), {"day_of_week": "7"}),
        ("nonsense", (), {"hour": "x"}),
        ("bad type", (), {"hour": 1.5}),
        ("empty", (), {"hour": ""}),
    ]:
        value = attempt(f"{label}.made", crontab, *args, **kwargs)
        if value is None:
            continue
        say(f"{label}.sets", told(value))
        say(f"{label}.str", str(value))
        say(f"{label}.repr", repr(value))
        say(
            f"{label}.originals",
            [getattr(value, f"_orig_{name}") for name in "minute hour day_of_week day_of_month month_of_year".split()],
        )
        attempt(f"{label}.pickle", lambda value=value: pickle.loads(pickle.dumps(value)) == value)
    attempt("equal", lambda: (crontab() == crontab(), crontab(1) == crontab("1"), crontab(1) != crontab(2)))
    attempt("from_string", lambda: repr(crontab.from_string("0 4 1 * mon")))
    attempt("from_string wrong", lambda: crontab.from_string("0 4"))
    attempt("hash", lambda: hash(crontab()) == hash(crontab()))


def part_schedule():
    for label, args, kwargs in [
        ("number", (5,), {}),
        ("delta", (dt.timedelta(minutes=2),), {}),
        ("relative", (60,), {"relative": True}),
        ("fraction", (0.5,), {}),
        ("days", (dt.timedelta(days=3),), {}),
        ("none", (), {}),
    ]:
        value = attempt(f"{label}.made", schedule, *args, **kwargs)
        if value is None:
            continue
        attempt(f"{label}.run_every", lambda value=value: value.run_every)
        attempt(f"{label}.seconds", lambda value=value: value.seconds)
        attempt(f"{label}.human", lambda value=value: value.human_seconds)
        attempt(f"{label}.relative", lambda value=value: value.relative)
        attempt(f"{label}.repr", lambda value=value: repr(value))
        attempt(f"{label}.pickle", lambda value=value: pickle.loads(pickle.dumps(value)) == value)
    attempt("equal", lambda: (schedule(5) == schedule(5), schedule(5) == 5, schedule(5) != schedule(6)))


def part_due():
    now = dt.datetime(2024, 5, 6, 12, 30, tzinfo=dt.timezone.utc)
    value = schedule(60, nowfun=lambda: now)
    attempt("due", lambda: tuple(value.is_due(now - dt.timedelta(seconds=61))))
    attempt("not due", lambda: tuple(value.is_due(now - dt.timedelta(seconds=20))))
    cron = crontab(minute="0", hour="13", nowfun=lambda: now)
    attempt("cron remaining", lambda: cron.remaining_estimate(now).total_seconds())
    attempt("cron not due", lambda: tuple(cron.is_due(now)))
