"""Scheduler classes as Celery's: entries, their order, what is sent, and what a subclass may replace."""

from __future__ import annotations

import copy
import pickle
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from lavoro import Lavoro
from lavoro.beat import choosing
from lavoro.beat.schedule_entry import ScheduleEntry
from lavoro.beat.scheduler import PersistentScheduler, Scheduler, SchedulingError
from lavoro.beat.service import EmbeddedService, Service
from lavoro.exceptions import ImproperlyConfigured
from lavoro.schedules import crontab, schedule, times
from lavoro.schedules.entry import BeatLazyFunc

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=timezone.utc)


class Recording(Scheduler):
    """Keeps what it sends."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.sent: list[tuple[Any, ...]] = []
        super().__init__(*args, **kwargs)

    def send_task(self, *args: Any, **kwargs: Any) -> Any:
        """Keep it."""
        self.sent.append((*args, kwargs))


def app(**settings: Any) -> Lavoro:
    return Lavoro("shop", set_as_current=False, **settings)


def entry(seconds: float = 60, **fields: Any) -> dict[str, Any]:
    return {"task": "shop.tick", "schedule": seconds, **fields}


def names(scheduler: Recording) -> list[Any]:
    return [call[1] for call in scheduler.sent]


# Entries


def test_entry_is_a_value_that_is_replaced_at_each_run() -> None:
    first = ScheduleEntry("tick", "shop.tick", NOW, schedule=60, args=(1,), kwargs={"two": "2"}, app=app())
    second = next(first)
    assert (second.total_run_count, first.total_run_count) == (1, 0)
    assert second.last_run_at > first.last_run_at == NOW
    assert first == second
    assert first.next(NOW + timedelta(1)).last_run_at == NOW + timedelta(1)
    assert repr(first) == "<ScheduleEntry: tick shop.tick(1, two='2') <freq: 1.00 minute>"
    assert dict(first)["schedule"] == schedule(60)
    remade = pickle.loads(pickle.dumps(first))
    assert (remade == first, remade.last_run_at) == (True, NOW)
    second.update(ScheduleEntry("tick", "shop.tock", schedule=60, app=app()))
    assert (second.task, second.total_run_count, first == second) == ("shop.tock", 1, False)
    assert len({id(each) for each in sorted([first, second, copy.copy(first)])}) == 3


def test_entry_is_due_by_its_last_run() -> None:
    given = app()
    assert ScheduleEntry("a", "t", given.now() - timedelta(minutes=2), schedule=60, app=given).is_due()[0]
    assert not ScheduleEntry("a", "t", schedule=60, app=given).is_due()[0]


def test_entries_come_from_the_setting_and_keep_their_runs() -> None:
    scheduler = Recording(app(beat_schedule={"a": entry(), "b": entry(args=(1,))}))
    assert sorted(scheduler.schedule) == ["a", "b"]
    scheduler.schedule["a"].total_run_count = 5
    scheduler.add(name="c", task="shop.tick", schedule=5)
    scheduler.merge_inplace({"a": entry(30), "d": entry()})
    assert sorted(scheduler.schedule) == ["a", "d"]
    assert (scheduler.schedule["a"].total_run_count, scheduler.schedule["a"].schedule) == (5, schedule(30))
    scheduler.update_from_dict({"e": entry(), "f": scheduler.schedule["a"]})
    assert sorted(scheduler.schedule) == ["a", "d", "e", "f"]
    assert Recording(app(beat_schedule={"a": entry()}), lazy=True).schedule == {}
    assert Recording(app(), schedule=lambda: {"own": 1}, lazy=True).schedule == {"own": 1}


def test_rules_of_lavoros_own_scheduler_are_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Else one such rule would stop a scheduler class."""
    given = entry(crontab(hour=3), overlap="allow", missed="all", tz="Europe/Rome")
    scheduler = Recording(app(beat_schedule={"a": given}))
    assert str(scheduler.schedule["a"].schedule.tz) == "Europe/Rome"
    assert "the schedule 'a': Recording does not read missed, overlap" in caplog.text


def test_settings_of_a_scheduler() -> None:
    given = app(beat_max_loop_interval=7, beat_sync_every=3)
    assert (Scheduler(given).max_interval, Scheduler(given).sync_every_tasks) == (7, 3)
    assert (Scheduler(given, max_interval=2).max_interval, Scheduler(given, sync_every_tasks=1).sync_every_tasks) == (
        2,
        1,
    )
    assert Scheduler(app()).max_interval == 300


# Ticks


def test_tick_sends_what_is_due_in_order_and_says_when_the_next_comes() -> None:
    scheduler = Recording(app(beat_schedule={name: entry(60, args=[name]) for name in "abc"}))
    now = scheduler.app.now()
    for minutes, name in ((3, "c"), (2, "a")):
        scheduler.schedule[name].last_run_at = now - timedelta(minutes=minutes)
    assert [scheduler.tick(), scheduler.tick()] == [0, 0]
    assert sorted(call[1][0] for call in scheduler.sent) == ["a", "c"]
    assert scheduler.schedule["a"].total_run_count == 1
    assert 50 < scheduler.tick() <= 60
    assert len(scheduler.sent) == 2
    assert Recording(app(), max_interval=4).tick() == 4
    assert 1 < Recording(app(beat_schedule={"a": entry()}), max_interval=2).tick() <= 2


def test_a_change_of_the_entries_is_seen_at_the_next_tick() -> None:
    scheduler = Recording(app(beat_schedule={"a": entry(1000)}))
    assert scheduler.tick() > 100
    scheduler.add(name="b", task="shop.tick", schedule=1, last_run_at=scheduler.app.now() - timedelta(seconds=5))
    assert scheduler.tick() == 0
    assert len(scheduler.sent) == 1


def test_an_entry_that_cannot_tell_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    class Wrong(schedule):
        """Fails."""

        def is_due(self, last_run_at: datetime) -> Any:
            """Fail."""
            raise RuntimeError("no idea")

    given = app()
    scheduler = Recording(given)
    long_ago = given.now() - timedelta(hours=1)
    scheduler.add(name="wrong", task="t", schedule=Wrong(1), last_run_at=long_ago)
    scheduler.add(name="right", task="t", schedule=1, last_run_at=long_ago)
    scheduler.tick()
    assert len(scheduler.sent) == 1
    assert "it is unknown when 'wrong' is due" in caplog.text


def test_an_entry_that_asks_to_be_asked_later_lets_others_pass() -> None:
    class Later(Recording):
        """Has one entry that is never due."""

        def is_due(self, entry: Any) -> Any:
            """Say so."""
            return (False, 20) if entry.name == "later" else super().is_due(entry)

    given = app()
    scheduler = Later(given)
    for name in ("later", "now"):
        scheduler.add(name=name, task=name, schedule=1, last_run_at=given.now() - timedelta(hours=1))
    assert [scheduler.tick(), scheduler.tick()] == [0, 0]
    assert [call[0] for call in scheduler.sent] == ["now"]


def test_what_is_sent() -> None:
    lazy = {"args": [BeatLazyFunc(lambda: 3)], "kwargs": {"k": BeatLazyFunc(int, "7")}}
    scheduler = Recording(app())
    sent = scheduler.add(name="a", task="far.away", schedule=1, options={"queue": "slow", "headers": {"x": 1}}, **lazy)
    scheduler.apply_async(sent)
    options = {"producer": None, "queue": "slow", "headers": {"x": 1, "celery_beat_task": True}}
    assert scheduler.sent == [("far.away", [3], {"k": 7}, options)]
    assert sent.options == {"queue": "slow", "headers": {"x": 1}}
    assert scheduler.schedule["a"].total_run_count == 1
    scheduler.apply_async(scheduler.schedule["a"], advance=False)
    assert scheduler.schedule["a"].total_run_count == 1


def test_a_task_that_cannot_be_sent_is_told_and_the_entry_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Recording):
        """Cannot send."""

        def send_task(self, *args: Any, **kwargs: Any) -> Any:
            """Fail."""
            raise OSError("no way")

    given = app()
    scheduler = Broken(given)
    sent = scheduler.add(name="a", task="t", schedule=60, last_run_at=given.now() - timedelta(hours=1))
    with pytest.raises(SchedulingError, match="Couldn't apply scheduled task a: no way"):
        scheduler.apply_async(sent)
    scheduler.schedule["a"] = sent
    assert scheduler.tick() == 0
    assert 50 < scheduler.tick() <= 60
    assert "the task of the schedule 'a' cannot be sent" in caplog.text


def test_state_is_kept_after_a_time_or_a_number_of_tasks() -> None:
    class Keeping(Recording):
        """Counts."""

        kept = 0

        def sync(self) -> None:
            """Count."""
            self.kept += 1

    scheduler = Keeping(app(), sync_every_tasks=2)
    sent = scheduler.add(name="a", task="t", schedule=60)
    for _ in range(5):
        scheduler.apply_async(sent)
    assert scheduler.kept == 3  # the first, and each second one
    scheduler.close()
    assert scheduler.kept == 4
    scheduler.sync_every, scheduler.sync_every_tasks = 0, 0
    assert scheduler.should_sync()


# Classes by their names


@pytest.mark.parametrize(
    "named",
    [
        None, "", "celery.beat:PersistentScheduler", "celery.beat.PersistentScheduler", "celery.beat:Scheduler",
        "lavoro.beat.scheduler:PersistentScheduler", Scheduler, PersistentScheduler,
    ],
)  # fmt: skip
def test_celerys_own_classes_stand_for_lavoros_scheduler(named: Any) -> None:
    assert choosing.class_of(named) is None


def test_a_class_is_named_by_itself_or_its_path() -> None:
    assert choosing.class_of(Recording) is Recording
    assert choosing.class_of(f"{__name__}:Recording") is Recording
    assert choosing.own_of(app(beat_scheduler=f"{__name__}.Recording")) is Recording


@pytest.mark.parametrize("named", ["no_such.module:Class", f"{__name__}:NoSuch", "redbeat.RedBeatScheduler"])
def test_a_class_that_cannot_be_imported_says_what_to_do(named: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"cannot be imported .* leave it out"):
        choosing.class_of(named)


def test_something_that_is_no_class() -> None:
    with pytest.raises(ImproperlyConfigured, match="must be a class or its dotted path, not 7"):
        choosing.class_of(7)


def test_service_and_program_have_celerys_attributes() -> None:
    given = app(beat_schedule={"a": entry()}, broker="postgresql://nowhere/at-all", beat_max_loop_interval=9)
    service = Service(given, scheduler_cls=Recording, schedule_filename="file", hostname="me")
    assert isinstance(service.scheduler, Recording)
    assert service.scheduler is service.scheduler
    assert (sorted(service.scheduler.schedule), service.scheduler.max_interval) == (["a"], 9)
    assert (service.schedule_filename, service.hostname) == ("file", "me")
    assert service.get_scheduler(lazy=True).schedule == {}
    assert isinstance(EmbeddedService(given, thread=True).service, Service)
    beat = given.Beat(loglevel="INFO", scheduler=Recording, max_interval=3)
    assert (beat.app, beat.loglevel, beat.scheduler_cls, beat.schedule) == (given, 20, Recording, "celerybeat-schedule")
    assert "test_scheduler.Recording" in beat.startup_info(service)


def test_added_entries_are_in_the_setting_as_soon_as_it_is_read() -> None:
    """Whatever is configured before or after, and without the first use of a task."""
    given = app()
    given.add_periodic_task(10, given.task(lambda: None, name="tick").s(), name="before")
    given.config_from_object({"beat_schedule": {"given": entry()}})
    assert list(given.conf.beat_schedule) == ["given", "before"]
    given.add_periodic_task(10, given.tasks["tick"].s(), name="after")
    given.conf.beat_schedule["by hand"] = entry()
    assert list(given.conf.beat_schedule) == ["given", "before", "after", "by hand"]
    given = app()
    given.conf.beat_schedule["only"] = entry()
    given.add_periodic_task(10, given.task(lambda: None, name="tick").s(), name="added")
    assert list(given.conf.beat_schedule) == ["only", "added"]


def test_a_periodic_task_is_a_task_or_a_signature() -> None:
    with pytest.raises(AttributeError, match=r"is a task or a signature, not 'tick': write add.s\(2, 3\)"):
        app().add_periodic_task(10, "tick")


def test_schedules_take_what_subclasses_assign() -> None:
    """As django-celery-beat does in the constructor of its crontab."""

    class Zoned(crontab):
        """A crontab of a zone."""

        def __init__(self, tz: Any, **fields: Any) -> None:
            super().__init__(**fields)
            self.tz = tz
            self.utc_enabled = False

    made = Zoned("Europe/Rome", minute=0, hour=12, app=app())
    assert made.next_after(NOW) == datetime(2026, 5, 5, 10, tzinfo=timezone.utc)
    assert (str(made.tz), made.utc_enabled, crontab(app=app()).utc_enabled) == ("Europe/Rome", False, True)
    made.tz = made.utc_enabled = None
    assert (made.next_after(NOW), made.utc_enabled) == (datetime(2026, 5, 5, 12, tzinfo=timezone.utc), True)


def test_times_and_durations_as_celerys_helpers() -> None:
    naive = datetime(2026, 5, 4, 12)
    assert times.maybe_make_aware(naive) == times.maybe_make_aware(NOW) == NOW
    assert times.maybe_make_aware(naive, "Europe/Rome").isoformat() == "2026-05-04T14:00:00+02:00"
    assert times.maybe_make_aware(naive, "Europe/Rome", False).isoformat() == "2026-05-04T12:00:00+02:00"
    assert times.make_aware(naive, timezone.utc) == NOW
    assert [times.is_naive(naive), times.is_naive(NOW)] == [True, False]
    assert times.humanize_seconds(90, prefix="in ") == "in 1.50 minutes"
    assert [times.humanize_seconds(0.2), times.humanize_seconds(0.2, microseconds=True)] == ["now", "0.20 seconds"]
