"""Entries of periodic tasks: how they are added, what the settings then have, and how a scheduler class keeps them."""

import datetime as dt
import pickle

from celery import Celery
from celery.beat import BeatLazyFunc, ScheduleEntry, Scheduler
from celery.schedules import crontab, maybe_schedule, schedstate, schedule
from record import attempt, say

POOLS = ()
NOW = dt.datetime(2026, 5, 4, 12, 0, tzinfo=dt.timezone.utc)


def made(**settings):
    app = Celery("entries", set_as_current=False, changes=settings)

    @app.task(name="add")
    def add(x, y=0):
        return x + y

    return app, add


def shape(entry):
    return {key: repr(value) if key == "schedule" else value for key, value in dict(entry).items()}


def part_add_periodic_task():
    app, add = made()
    say("name of signature", app.add_periodic_task(10, add.s(1)))
    say("name with args", app.add_periodic_task(crontab(hour=3), add, (1, 2), {}))
    say("name with keywords", app.add_periodic_task(30, add.s(1, y=2)))
    say("name given", app.add_periodic_task(5, add.s(), name="mine", queue="slow", expires=9))
    say("name of partial", app.add_periodic_task(5, add.s(1), args=(7,), name="partial"))
    say("name of immutable", app.add_periodic_task(5, add.si(3), name="immutable"))
    say("name with options", app.add_periodic_task(5, add.s(1).set(priority=3), name="with options"))
    say("names", sorted(app.conf.beat_schedule))
    for name, entry in sorted(app.conf.beat_schedule.items()):
        say(f"entry {name}", shape(entry))
    say("same again", app.add_periodic_task(5, add.s(), name="mine", queue="slow", expires=9))
    attempt("another of the name", app.add_periodic_task, 7, add.s(), name="mine")
    say("another of the call", app.add_periodic_task(11, add.s(1)))
    say("number", len(app.conf.beat_schedule))
    attempt("not a task", app.add_periodic_task, 5, "text")


def part_configuration():
    entry = {"task": "add", "schedule": 30.0, "args": (1, 2)}
    app, add = made(beat_schedule={"given": entry})
    app.add_periodic_task(10, add.s(1), name="added")
    say("both", sorted(app.conf.beat_schedule))
    app.conf.beat_schedule["later"] = entry
    say("three", sorted(app.conf.beat_schedule))
    app, _ = made()
    app.conf.beat_schedule = {"replaced": entry}
    say("replaced", sorted(app.conf.beat_schedule))


def part_signals():
    app, add = made()
    told = []

    @app.on_after_configure.connect
    def configured(sender, **named):
        told.append(["configured", sorted(named)])
        sender.add_periodic_task(10, add.s(1), name="configured")

    @app.on_after_finalize.connect
    def finalized(sender, **named):
        told.append(["finalized", sorted(named)])
        sender.add_periodic_task(10, add.s(1), name="finalized")

    app.finalize()
    say("names", sorted(app.conf.beat_schedule))
    say("events", sorted(event for event, _ in told))


def part_entries():
    app, _ = made()
    for label, fields in {
        "interval": {"schedule": schedule(60, app=app)},
        "seconds": {"schedule": 90},
        "timedelta": {"schedule": dt.timedelta(hours=2), "relative": True},
        "crontab": {"schedule": crontab(minute=5, app=app), "args": (1,), "kwargs": {"y": "2"}},
        "options": {"schedule": 5, "options": {"queue": "slow"}},
    }.items():
        entry = ScheduleEntry("it", "add", NOW, app=app, **fields)
        say(f"{label}.repr", repr(entry))
        say(f"{label}.fields", sorted(dict(entry)))
        say(f"{label}.count", [entry.total_run_count, next(entry).total_run_count, entry.next(NOW).last_run_at == NOW])
        say(f"{label}.equal", [entry == next(entry), entry != next(entry), entry.editable_fields_equal(next(entry))])
    first = ScheduleEntry("it", "add", NOW, 3, schedule=60, app=app)
    second = ScheduleEntry("it", "mul", schedule=30, args=(2,), app=app)
    second.update(first)
    say("updated", [second.task, second.schedule.run_every.total_seconds(), second.args, second.total_run_count])
    say("due", [first.is_due()[0], isinstance(first.is_due(), schedstate)])
    attempt("unhashable", hash, first)
    attempt("unknown key", ScheduleEntry, "it", "add", missed="once")
    say("naive now is aware", first.default_now().tzinfo is not None)


def part_lazy():
    lazy = BeatLazyFunc(int, "7", base=8)
    say("called", [lazy(), lazy.delay()])
    attempt("no function", BeatLazyFunc)


def part_maybe_schedule():
    app, _ = made()
    say("seconds", repr(maybe_schedule(30, app=app)))
    say("timedelta", repr(maybe_schedule(dt.timedelta(days=2), True, app=app)))
    say("crontab", repr(maybe_schedule(crontab(hour=2), app=app)))
    say("none", repr(maybe_schedule(None)))


class Keeping(Scheduler):
    """Keeps what is sent."""

    def __init__(self, *args, **kwargs):
        self.sent, self.synced = [], 0
        super().__init__(*args, **kwargs)

    def install_default_entries(self, data):
        """Add none: Celery adds one."""

    def send_task(self, *args, **kwargs):
        """Keep it."""
        kwargs.pop("producer", None)
        self.sent.append([list(map(str, args)), {key: str(value) for key, value in kwargs.items()}])

    @property
    def producer(self):
        """None."""

    def sync(self):
        """Count."""
        self.synced += 1


def part_scheduler():
    entry = {"task": "far.away", "schedule": 60, "args": (1,)}
    app, _ = made(beat_schedule={"a": entry, "b": entry}, beat_max_loop_interval=40)
    keeping = Keeping(app)
    say("entries", sorted(keeping.schedule))
    say("intervals", [keeping.max_interval, Keeping(app, max_interval=3).max_interval, keeping.sync_every])
    say("lazy", Keeping(app, lazy=True).schedule)
    say("pause", 30 < keeping.tick() <= 40)
    for value in keeping.schedule.values():
        value.last_run_at = app.now() - dt.timedelta(minutes=3)
    keeping._heap = None
    say("ticks", [keeping.tick(), keeping.tick(), keeping.tick() > 30])
    say("sent", keeping.sent)
    say("counts", [value.total_run_count for value in keeping.schedule.values()])
    added = keeping.add(name="c", task="far.away", schedule=5, options={"queue": "slow", "headers": {"x": 1}})
    keeping.sent.clear()
    keeping.apply_async(added)
    say("one sent", keeping.sent)
    say("reserved", keeping.schedule["c"].total_run_count)
    keeping.merge_inplace({"a": {**entry, "schedule": 30}, "d": entry})
    say("merged", sorted(keeping.schedule))
    say("kept", [keeping.schedule["a"].total_run_count, repr(keeping.schedule["a"].schedule)])
    keeping.update_from_dict({"e": entry})
    say("updated", sorted(keeping.schedule))
    say("equal", [keeping.schedules_equal(keeping.schedule, dict(keeping.schedule)), keeping.schedules_equal(None, {})])
    say("adjusted", [keeping.adjust(5), keeping.adjust(0), keeping.adjust(None)])
    say("info", keeping.info)
    say("pickled", pickle.loads(pickle.dumps(keeping.schedule["d"])) == keeping.schedule["d"])
    before = keeping.synced
    keeping.close()
    say("closed", keeping.synced - before)
    keeping.sync_every_tasks, before = 1, keeping.synced
    keeping.apply_async(keeping.schedule["e"])
    say("synced after a task", keeping.synced - before)
