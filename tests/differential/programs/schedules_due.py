"""Schedules as values: fields, copies, and when they are due, at fixed times and at random ones."""

import copy
import pickle
import random
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from celery import Celery
from celery.schedules import ParseException, crontab, crontab_parser, maybe_schedule, schedule
from record import attempt, say

POOLS = ()

ZONES = ("UTC", "Europe/Rome", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")
FORWARD = [datetime(2025, 3, 30, tzinfo=timezone.utc), datetime(2025, 3, 9, 6, tzinfo=timezone.utc)]
BACK = [datetime(2025, 10, 26, tzinfo=timezone.utc), datetime(2025, 11, 2, 5, tzinfo=timezone.utc)]
"""Where clocks are set back, Celery's crontab is due without end: only intervals are compared."""

FIELDS = ("*", "*/15", "1,5", "5-2", "22-4/2", "mon-fri", "Sunday", "jan", 5, [1, 2], {3})
WRONG = ("", "1,,2", "*/", "1-5/", "-20", "60", "lunch", "*/0", "5/10", 60, -1, [61], 1.5, None, ["x"])


def field(pick, count, first):
    low, high = pick.randint(first, first + count - 1), pick.randint(first, first + count - 1)
    kinds = ["*", "*", f"*/{pick.randint(1, count)}", low, f"{low}-{high}", f"{low}-{high}/{pick.randint(1, 5)}", {low}]
    return pick.choice(kinds)


def main():
    for text in FIELDS:
        for name in ("minute", "hour", "day_of_week", "day_of_month", "month_of_year"):
            attempt(f"{name} {text!r}", lambda name=name, text=text: sorted(getattr(crontab(**{name: text}), name)))
    for text in WRONG:
        attempt(f"wrong {text!r}", lambda text=text: crontab(minute=text).minute)
    attempt("never", lambda: crontab(day_of_month=31, month_of_year=[2, 4]))
    attempt("from_string", lambda: crontab.from_string("0 4 1 */6 mon"))
    attempt("from_string of few", lambda: crontab.from_string("0 4"))
    say("parser", sorted(crontab_parser(31, 1).parse("*/3")))
    say("errors", (issubclass(ParseException, Exception), crontab_parser.ParseException is ParseException))

    for each in (crontab(5, "*/2", "mon-fri"), schedule(90), schedule(timedelta(days=2), relative=True)):
        for twin in (pickle.loads(pickle.dumps(each)), copy.copy(each), copy.deepcopy(each)):
            say("twin", (twin == each, repr(twin)))
    every = crontab(0, [1], "mon", {1}, "*/6")
    say("fields", [getattr(every, f"_orig_{name}") for name in ("minute", "hour", "day_of_week", "day_of_month")])
    say("equal", (crontab(5) == crontab("5"), crontab(5) == crontab(6), schedule(60) == timedelta(minutes=1)))
    say("other", (crontab() == 5, schedule(5) == crontab(), crontab() != crontab(minute=1)))
    say("maybe", [repr(maybe_schedule(value)) for value in (None, 5, 2.5, timedelta(hours=3), crontab())])
    say("human", [schedule(n).human_seconds for n in (0, 1, 59.5, 60, 90, 3600, 86400, 100000)])
    say("seconds", [schedule(n).seconds for n in (0, 1, 2.5, timedelta(minutes=5))])

    pick = random.Random(5)
    apps = {zone: Celery("x", timezone=zone, set_as_current=False) for zone in ZONES}
    for number in range(1200):
        edge = pick.choice([None, None, *FORWARD, *BACK])
        last = datetime(2025, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=pick.randint(0, 86400 * 900))
        if edge is not None:
            last = edge + timedelta(minutes=pick.randint(-240, 240), seconds=pick.randint(0, 59))
        zone = pick.choice(ZONES)
        shown = last if pick.random() < 0.5 else last.astimezone(ZoneInfo(zone))
        now = last + timedelta(seconds=pick.choice([0, 1, 30, 3000, 100000]))
        options = {"nowfun": lambda now=now: now, "app": apps[zone]}
        length = pick.choice([0, 1, 30, 60, 90, 3600, 5400, 86400, 100000, 86400 * 7, 0.5])
        attempt(f"interval {number}", due, schedule(length, pick.random() < 0.7, **options), shown)
        fields = [field(pick, *sizes) for sizes in ((60, 0), (24, 0), (7, 0), (31, 1), (12, 1))]
        if edge not in BACK:
            attempt(f"crontab {number}", crontab_due, fields, options, shown)


def due(every, last):
    return [repr(every), str(every.remaining_estimate(last)), list(every.is_due(last))]


def crontab_due(fields, options, last):
    every = crontab(*fields, **options)
    start, delta, now = every.remaining_delta(last)
    return [*due(every, last), str(start), str(start + delta), str(now)]
