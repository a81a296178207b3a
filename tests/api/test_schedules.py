"""``app.schedules``: schedules are created, changed, run, caught up and asked for, in the caller's transaction."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from lavoro import Lavoro
from lavoro.beat import dispatch
from lavoro.beat.entries import entries_of
from lavoro.exceptions import ImproperlyConfigured, ScheduleError, ScheduleNotFound
from lavoro.schedules import crontab, every
from lavoro.store.schedules import Served
from tests.api.conftest import Rows

UTC = dt.timezone.utc
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def app(app: Lavoro) -> Lavoro:
    @app.task(name="report")
    def report(kind: str = "sales") -> str:
        return kind

    return app


@pytest.fixture
def tick(app: Lavoro) -> Callable[[], int]:
    """Do what a worker does when schedules are due; return how many were."""

    def tick() -> int:
        entries = entries_of(app).usable
        with app.database.tx() as tx:
            return dispatch.send_due(app, tx, Served(sorted(app.tasks), sorted(entries)), entries)

    return tick


def long_ago(app: Lavoro, name: str, **ago: float) -> None:
    """Let a schedule be defined earlier."""
    since = dt.datetime.now(UTC) - dt.timedelta(**ago)
    with app.database.tx() as tx:
        tx.connection.execute(
            "update lavoro.schedule set since = %s, next_at = null, due_at = 'epoch' where name = %s",
            (since, name),
        )


# Definitions


def test_a_schedule_is_created_and_read_back(app: Lavoro) -> None:
    made = app.schedules.create(
        "sales", "0 9 * * mon-fri", app.tasks["report"], ["sales"], options={"queue": "slow"}, tz="Europe/Rome",
        missed="skip", overlap="allow", jitter=5, start="2030-01-01", most_runs=3,
    )  # fmt: skip
    assert made == app.schedules.get("sales")
    assert (made.task, made.args, made.options, made.timing, made.zone) == (
        "report", ["sales"], {"queue": "slow"}, "0 9 * * mon-fri", "Europe/Rome",
    )  # fmt: skip
    assert (made.origin, made.missed, made.overlap, made.jitter, made.most_runs) == ("api", "skip", "allow", 5.0, 3)
    assert made.starts_at == dt.datetime(2029, 12, 31, 23, tzinfo=UTC)
    assert made.state == "new"
    assert app.schedules.upcoming("sales", 9) == [dt.datetime(2030, 1, day, 8, tzinfo=UTC) for day in (1, 2, 3)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"schedule": "0 25 * * *"}, ["'bad'", "field 2 (hour)", "'25'", "0 25 * * *"]),  # P15, S53
        ({"schedule": "every other day"}, ["'bad'", "every other day"]),
        ({"schedule": "@every 90s @daily"}, ["'bad'", "90s @daily", "is no duration"]),
        ({"schedule": 0.01}, ["'bad'", "at least 0.1 s"]),
        ({"schedule": 60, "tz": "Europe/Rom"}, ["'bad'", "Europe/Rom", "is not known"]),
        ({"schedule": 60, "overlap": "never"}, ["'bad'", "overlap", "'never'", "skip, allow, queue, cancel"]),
        ({"schedule": 60, "overlp": "skip"}, ["'bad'", "'overlp'", "write 'overlap'"]),
        ({"schedule": 60, "args": [object()]}, ["'bad'", "cannot be encoded"]),
        ({"schedule": 60, "args": [1, 2, 3]}, ["'bad'", "report(): too many positional arguments"]),
        ({"schedule": crontab(nowfun=None, minute=0), "kwargs": {"nosuch": 1}}, ["'bad'", "nosuch"]),
    ],
)
def test_a_wrong_definition_is_refused(app: Lavoro, given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ScheduleError) as raised:
        app.schedules.create("bad", task="report", **given)
    assert [word for word in words if word not in str(raised.value)] == [], str(raised.value)
    assert app.schedules.list() == []


def test_a_name_is_a_short_text(app: Lavoro) -> None:
    for name in ("", "x" * 201, "a\0b", 5):
        with pytest.raises(ScheduleError, match="the name of a schedule is a text of 1 to 200 characters"):
            app.schedules.create(name, 60, "report")  # type: ignore[arg-type]


def test_a_name_is_taken_once(app: Lavoro) -> None:
    app.schedules.create("sales", 60, "report")
    with pytest.raises(ScheduleError, match=r"already: change it, .*replace=True \(--replace\)"):
        app.schedules.create("sales", 90, "report")
    assert app.schedules.create("sales", 90, "report", replace=True).timing == "@every 90s"


def test_a_task_that_the_application_does_not_know_is_told(app: Lavoro, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "lavoro.beat"):
        app.schedules.create("other", 60, "warehouse.count")
    assert "the schedule 'other' is for the task 'warehouse.count', which this application does not know" in caplog.text
    assert app.schedules.get("other").task == "warehouse.count"


def test_python_objects_stay_in_code(app: Lavoro) -> None:
    class mine(crontab):
        pass

    with pytest.raises(ScheduleError, match="times or arguments that no row can keep"):
        app.schedules.create("mine", mine(minute=0), "report")


def test_all_kinds_of_schedules_are_texts(app: Lavoro) -> None:
    given = [60, dt.timedelta(hours=1), "@daily", "@every 1h30m", crontab(minute=5), every("30 minutes")]
    made = [app.schedules.create(f"s{number}", each, "report").timing for number, each in enumerate(given)]
    assert made == ["@every 60s", "@every 3600s", "0 0 * * *", "@every 5400s", "5 * * * *", "@every 1800s"]


def test_two_schedules_of_one_task(app: Lavoro, tick: Callable[[], int], rows: Rows) -> None:
    """S49, P5: both run, with arguments of their own."""
    app.schedules.create("a", 3600, "report", ["sales"])
    app.schedules.create("b", 3600, "report", ["costs"])
    for name in "ab":
        long_ago(app, name, minutes=60, seconds=5)
    assert tick() == 2  # their times are computed
    assert tick() == 2
    assert sorted(str(row["args"]) for row in rows()) == ["['costs']", "['sales']"]


def test_one_object_in_two_zones(app: Lavoro) -> None:
    """A zone that an entry names changes no other entry of the same object."""
    nine = crontab(minute=0, hour=9)
    zones = ("Europe/Rome", "Asia/Tokyo", None)
    assert [app.schedules.create(f"{zone}", nine, "report", tz=zone).zone for zone in zones] == list(zones)
    app.conf.beat_schedule = {zone: {"task": "report", "schedule": nine, "tz": zone} for zone in zones[:2]}
    assert [str(entry.schedule.tz) for entry in entries_of(app).usable.values()] == list(zones[:2])


# Changes


def test_a_change_names_the_parts_that_change(app: Lavoro, tick: Callable[[], int]) -> None:
    app.schedules.create(
        "sales", "0 9 * * *", "report", ["sales"], options={"queue": "slow"}, tz="Europe/Rome", jitter=3
    )
    tick()
    before = app.schedules.get("sales")
    changed = app.schedules.change("sales", overlap="allow", args=["costs"], jitter=None, options={})
    assert (changed.args, changed.overlap, changed.jitter, changed.options) == (["costs"], "allow", 0.0, {})
    assert (changed.timing, changed.zone) == ("0 9 * * *", "Europe/Rome")
    later = app.schedules.change("sales", schedule="0 10 * * *")
    assert (later.timing, later.zone, later.next_at) == ("0 10 * * *", "Europe/Rome", None)
    assert app.schedules.change("sales", schedule=crontab(minute=0, hour=11)).zone == "Europe/Rome"
    assert app.schedules.change("sales", schedule=crontab(minute=0, tz="Asia/Tokyo")).zone == "Asia/Tokyo"
    assert app.schedules.change("sales", tz=None).zone is None
    assert before.next_at is not None
    with pytest.raises(ScheduleError, match="'sales' has an unknown key 'overlp': write 'overlap'"):
        app.schedules.change("sales", overlp="skip")


def test_what_does_not_change_keeps_its_next_time(app: Lavoro, tick: Callable[[], int]) -> None:
    """S52, P3: a definition is stored again, and nothing fires because of it."""
    app.schedules.create("weekly", "@weekly", "report")
    tick()
    next_at = app.schedules.get("weekly").next_at
    assert next_at is not None
    assert app.schedules.change("weekly", args=["costs"]).next_at == next_at
    assert app.schedules.create("weekly", "@weekly", "report", replace=True).next_at == next_at


def test_a_change_of_the_zone_fires_nothing(app: Lavoro, tick: Callable[[], int], rows: Rows) -> None:
    """P21: the next time is computed from now on."""
    app.schedules.create("daily", "0 9 * * *", "report", tz="Asia/Tokyo")
    long_ago(app, "daily", days=3)
    app.schedules.change("daily", tz="America/Los_Angeles")
    assert (tick(), tick()) == (1, 0)
    assert rows() == []
    next_at = app.schedules.get("daily").next_at
    assert next_at is not None
    assert next_at > dt.datetime.now(UTC)


def test_paused_schedules_have_no_ticks(app: Lavoro, tick: Callable[[], int], rows: Rows) -> None:
    app.schedules.create("a", 1, "report")
    app.schedules.create("b", "@daily", "report", paused=True)
    long_ago(app, "a", minutes=1)
    app.schedules.pause("a")
    paused = app.schedules.get("a")
    app.schedules.pause("a")
    assert (tick(), rows(), paused.state) == (0, [], "paused")
    assert app.schedules.get("a") == paused
    assert app.schedules.get("b").state == "paused"
    app.schedules.resume("a", "b")
    tick()
    assert rows() == []  # what was missed in the pause is not caught up
    assert [each.state for each in app.schedules] == ["waiting", "waiting"]


def test_all_or_none_of_the_names(app: Lavoro) -> None:
    app.schedules.create("sales", 60, "report")
    for verb in (app.schedules.pause, app.schedules.delete, app.schedules.resume):
        with pytest.raises(ScheduleNotFound, match="no schedule 'sale' in the database: did you mean 'sales'"):
            verb("sales", "sale")
    assert app.schedules.get("sales").state == "new"
    app.schedules.delete("sales")
    with pytest.raises(KeyError, match="there is no schedule 'sales' in the database: it has no schedule yet "):
        app.schedules.get("sales")


def test_an_unknown_name_leads_to_the_known_ones(app: Lavoro) -> None:
    for name in ("shop.tasks.sync_stock", "a"):
        app.schedules.create(name, 60, "report")
    with pytest.raises(ScheduleNotFound, match="did you mean 'shop.tasks.sync_stock'?"):
        app.schedules.get("sync_stock")
    with pytest.raises(
        ScheduleNotFound, match="database: it has 'a', 'shop.tasks.sync_stock' .`lavoro schedule .*list"
    ):
        app.schedules.get("nosuch")
    for number in range(10):
        app.schedules.create(f"n{number}", 60, "report")
    with pytest.raises(ScheduleNotFound, match="database: `lavoro schedule .*list` shows the names"):
        app.schedules.get("nosuch")


def test_a_run_of_a_task_that_the_application_does_not_know_is_told(
    app: Lavoro, caplog: pytest.LogCaptureFixture
) -> None:
    app.schedules.create("other", 60, "warehouse.count")
    caplog.clear()
    with caplog.at_level(logging.WARNING, "lavoro.beat"):
        app.schedules.run("other")
    assert "the task 'warehouse.count', which this application does not know: a worker that knows" in caplog.text


def test_the_decorator_needs_a_schedule(app: Lavoro) -> None:
    for wrong in (lambda: None, app.tasks["report"]):
        with pytest.raises(TypeError, match=r'needs a schedule: write @app.periodic\("@hourly"\)'):
            app.periodic(wrong)


def test_the_decorators_may_stand_in_the_other_order(app: Lavoro) -> None:
    def clean_up() -> None: ...

    made = app.periodic("@hourly")(clean_up)
    assert app.task(made) is made
    with pytest.raises(ImproperlyConfigured, match="queue=.*cannot change it: write `@app.periodic` above `@app.task`"):
        app.task(queue="slow")(made)


def test_what_code_and_the_interface_define(app: Lavoro) -> None:
    """A changed schedule of code is the interface's until it is deleted; a pause makes no difference."""
    app.conf.beat_schedule = {
        "a": {"task": "report", "schedule": 60}, "b": {"task": "report", "schedule": 60},
    }  # fmt: skip
    assert app.schedules.define().added == ["a", "b"]
    app.schedules.pause("b")
    app.schedules.resume("b")
    app.schedules.pause("b")
    app.schedules.change("a", schedule=90)
    app.conf.beat_schedule["a"]["schedule"] = app.conf.beat_schedule["b"]["schedule"] = 120
    assert app.schedules.define().changed == ["b"]
    assert [(s.origin, s.timing, s.state) for s in app.schedules] == [
        ("api", "@every 90s", "new"), ("code", "@every 120s", "paused"),
    ]  # fmt: skip
    app.schedules.delete("a")
    assert app.schedules.define().added == ["a"]
    assert app.schedules.get("a").timing == "@every 120s"


def test_the_rules_of_what_only_code_has_can_be_changed(app: Lavoro) -> None:
    class mine(crontab):
        pass

    app.conf.beat_schedule = {"mine": {"task": "report", "schedule": mine(minute=0), "args": ["costs"]}}
    app.schedules.define()
    assert app.schedules.change("mine", overlap="allow", missed="skip").missed == "skip"
    with pytest.raises(ScheduleError, match="no row can keep"):
        app.schedules.change("mine", args=["sales"])
    assert app.schedules.change("mine", schedule="@daily").args == ["costs"]
    app.conf.beat_schedule = {}
    app.schedules.define()
    assert not app.schedules.get("mine").in_code


# Transactions


def test_all_that_changes_joins_a_transaction(app: Lavoro, rows: Rows) -> None:
    app.schedules.create("old", 60, "report")
    engine = sa.create_engine(app.database.url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection, app.transaction(connection):
        app.schedules.create("new", 60, "report")
        app.schedules.change("old", jitter=3)
        app.schedules.pause("old")
        app.schedules.run("new")
        app.schedules.backfill("new", dt.datetime.now(UTC) - HOUR, dt.datetime.now(UTC))
        assert [each.name for each in app.schedules] == ["new", "old"]
        assert rows("select name, jitter, paused_at from lavoro.schedule") == [
            {"name": "old", "jitter": 0.0, "paused_at": None}
        ]
        connection.rollback()
        assert [each.name for each in app.schedules] == ["old"]
        app.schedules.delete("old")
        connection.commit()
    engine.dispose()
    assert rows() == rows("select * from lavoro.schedule") == rows("select * from lavoro.tick") == []


# Runs by hand


def test_a_run_by_hand_moves_no_tick(app: Lavoro, tick: Callable[[], int], rows: Rows) -> None:
    app.schedules.create("sales", "@daily", "report", ["costs"], options={"queue": "slow", "priority": 3})
    tick()
    before = app.schedules.get("sales")
    result = app.schedules.run("sales")
    [task] = rows()
    assert (str(task["id"]), task["queue"], task["priority"], task["args"]) == (result.id, "slow", 3, ["costs"])
    assert task["options"]["tick"]["schedule"] == "sales"
    [past] = app.schedules.history("sales")
    assert (past.outcome, past.reason, str(past.task_id), past.late) == ("sent", "run by hand", result.id, False)
    after = app.schedules.get("sales")
    assert str(after.last_task_id) == result.id
    assert after._replace(last_task_id=None) == before


def test_a_run_by_hand_does_not_overlap(app: Lavoro, rows: Rows) -> None:
    app.schedules.create("sales", "@daily", "report", paused=True)
    first = app.schedules.run("sales")
    with pytest.raises(ScheduleError, match=rf"{first.id}, has not ended: wait for it, or .* overlap='allow'"):
        app.schedules.run("sales")
    second = app.schedules.run("sales", overlap="allow")
    third = app.schedules.run("sales", overlap="queue")
    assert {str(row["id"]) for row in rows()} == {first.id, second.id}
    assert [str(row["id"]) for row in rows("select id from lavoro.held")] == [third.id]
    fourth = app.schedules.run("sales", overlap="cancel")
    assert app.AsyncResult(third.id).state == "REVOKED"
    assert str(app.schedules.get("sales").last_task_id) == fourth.id
    with pytest.raises(ScheduleError, match="overlap must be one of skip, allow, queue, cancel, not 'both'"):
        app.schedules.run("sales", overlap="both")


def test_signals_tell_of_runs_by_hand(app: Lavoro) -> None:
    """P20: they are sent as all calls are."""
    from lavoro import signals

    told = []

    def tell(sender: Any = None, **_: Any) -> None:
        told.append(sender)

    app.schedules.create("sales", "@daily", "report")
    signals.after_task_publish.connect(tell)
    try:
        app.schedules.run("sales")
    finally:
        signals.after_task_publish.disconnect(tell)
    assert told == ["report"]


# Backfills


def hours(app: Lavoro, count: int) -> tuple[dt.datetime, dt.datetime]:
    """The span of the last full hours."""
    last = dt.datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return last - (count - 1) * HOUR, last


def test_a_backfill_sends_each_missing_time_once(app: Lavoro, rows: Rows) -> None:
    app.schedules.create("sales", "@hourly", "report", overlap="allow")
    start, end = hours(app, 4)
    preview = app.schedules.backfill("sales", start, end, preview=True)
    assert (preview.times, preview.already, preview.results) == ([start + n * HOUR for n in range(4)], 0, ())
    assert rows() == []
    done = app.schedules.backfill("sales", start + HOUR, end)
    assert (done.times, len(done.results)) == (preview.times[1:], 3)
    again = app.schedules.backfill("sales", start, end)
    assert (again.times, again.already) == ([start], 3)
    assert app.schedules.backfill("sales", start, end) == ([], 4, ())
    told = [row["options"]["tick"] for row in rows()]
    assert sorted(each["at"] for each in told) == [at.isoformat() for at in preview.times]
    assert all(each["late"] for each in told)
    assert {(past.outcome, past.late, past.reason) for past in app.schedules.history("sales")} == {
        ("sent", True, "backfilled")
    }


def test_a_backfill_replaces_skipped_ticks(app: Lavoro, tick: Callable[[], int], rows: Rows) -> None:
    """P14: those of one row that are not in the span stay skipped."""
    app.schedules.create("sales", "@hourly", "report", missed="skip")
    start, end = hours(app, 6)
    with app.database.tx() as tx:
        tx.connection.execute(
            "insert into lavoro.tick (schedule, due_at, until_at, times, outcome, reason)"
            " values ('sales', %s, %s, 6, 'skipped', 'missed')", (start, end),
        )  # fmt: skip
    app.schedules.backfill("sales", start, start + HOUR)
    found = [(past.due_at, past.until_at, past.times, past.outcome) for past in app.schedules.history("sales")]
    assert found == [
        (start + 2 * HOUR, end, 4, "skipped"), (start + HOUR, None, 1, "sent"), (start, None, 1, "sent"),
    ]  # fmt: skip
    waiting, held = rows(), rows("select * from lavoro.held")
    assert (len(waiting), len(held)) == (1, 1)  # one after the other


def test_times_of_an_interval_lie_on_its_ticks(app: Lavoro, tick: Callable[[], int]) -> None:
    app.schedules.create("often", 600, "report")
    tick()
    next_at = app.schedules.get("often").next_at
    assert next_at is not None
    step = dt.timedelta(seconds=600)
    found = app.schedules.backfill("often", next_at - 3.5 * step, next_at + HOUR, preview=True)
    assert found.times == [next_at - 3 * step, next_at - 2 * step, next_at - step]


def test_a_backfill_has_bounds(app: Lavoro) -> None:
    app.schedules.create("often", 1, "report")
    now = dt.datetime.now(UTC)
    with pytest.raises(ScheduleError, match=r"'often' has more than 1,000 times .*: choose a shorter time"):
        app.schedules.backfill("often", now - HOUR, now)
    with pytest.raises(ScheduleError, match=r"ticks are kept for 30 days \(setting lavoro_tick_expires\)"):
        app.schedules.backfill("often", now - dt.timedelta(days=40), now)
    with pytest.raises(ScheduleError, match="is after its end"):
        app.schedules.backfill("often", now, now - HOUR)
    app.schedules.create("yearly", "@yearly", "report", tz="UTC")
    old = app.schedules.backfill("yearly", dt.datetime(2024, 1, 1), dt.datetime(2025, 6, 1), forgotten=True)
    assert old.times == [dt.datetime(2024, 1, 1, tzinfo=UTC), dt.datetime(2025, 1, 1, tzinfo=UTC)]


def test_the_next_tick_is_not_sent_again_by_a_worker(app: Lavoro, tick: Callable[[], int], rows: Rows) -> None:
    app.schedules.create("often", 60, "report", overlap="allow")
    long_ago(app, "often", seconds=90)
    tick()  # its time is computed, and is 30 s ago
    now = dt.datetime.now(UTC)
    assert len(app.schedules.backfill("often", now - dt.timedelta(seconds=59), now).times) == 1
    assert (tick(), len(rows())) == (1, 1)


# Questions


def test_schedules_are_read_page_by_page(app: Lavoro, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lavoro.beat.api.PAGE", 2)
    for name in ("b", "a", "d", "c"):
        app.schedules.create(name, 60, "report")
    assert [each.name for each in app.schedules] == ["a", "b", "c", "d"]


def test_the_history_is_read_backwards(app: Lavoro) -> None:
    app.schedules.create("sales", "@hourly", "report", overlap="allow")
    start, end = hours(app, 5)
    app.schedules.backfill("sales", start, end)
    first = app.schedules.history("sales", 2)
    assert [past.due_at for past in first] == [end, end - HOUR]
    assert [past.due_at for past in app.schedules.history("sales", 2, before=first[-1].due_at)] == [
        end - 2 * HOUR, end - 3 * HOUR,
    ]  # fmt: skip


def test_a_name_is_the_same_in_all_processes(app: Lavoro) -> None:
    """P19: it is written in words, not hashed."""
    assert app.add_periodic_task(60, app.tasks["report"].s("costs")) == "report('costs')"


def test_a_tick_that_a_middleware_keeps_back_is_recorded(app: Lavoro, tick: Callable[[], int], rows: Rows) -> None:
    """P22: the schedule goes on."""
    app.schedules.create("broken", 60, "report", options={"queue": "q" * 300})
    long_ago(app, "broken", seconds=61)
    tick()
    tick()
    [past] = app.schedules.history("broken")
    assert (past.outcome, rows()) == ("failed", [])
    broken = app.schedules.get("broken")
    assert past.reason is not None
    assert broken.error == past.reason
    assert broken.next_at is not None
    assert app.schedules.change("broken", options={}).error is None
