"""Rows of schedules that are written in SQL, ticks that are forgotten, and definitions that meet."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from lavoro import Lavoro
from lavoro.beat import dispatch
from lavoro.beat.entries import entries_of, synchronise
from lavoro.store import entries
from lavoro.store.database import Database
from lavoro.store.schedules import Served
from lavoro.store.schema import roles
from lavoro.store.tx import Tx
from lavoro.worker.supervisor.retention import Retention
from tests.store.walk import rows, value

Tick = Callable[[], int]


@pytest.fixture
def app(database: Database, empty_url: str) -> Iterator[Lavoro]:
    with Lavoro("shop", broker=empty_url) as app:

        @app.task(name="report")
        def report(kind: str = "sales") -> str:
            return kind

        yield app


@pytest.fixture
def tick(app: Lavoro, tx: Tx) -> Tick:
    """Do what a worker does when schedules are due; return how many were."""
    return lambda: dispatch.send_due(app, tx, Served(sorted(app.tasks), []), {})


def passed(tx: Tx, **ago: float) -> None:
    """Let the time of all definitions be longer ago."""
    since = dt.timedelta(**ago)
    tx.connection.execute("update lavoro.schedule set since = since - %s, next_at = null, due_at = 'epoch'", (since,))


def state(tx: Tx) -> list[tuple[object, ...]]:
    return rows(
        tx, "select name, error, due_at is null, next_at is null, paused_at is null from lavoro.schedule order by 1"
    )


INSERT = "insert into lavoro.schedule (name, task, timing) values "


def test_three_columns_are_a_schedule(tx: Tx, tick: Tick) -> None:
    tx.connection.execute(f"{INSERT} ('daily', 'report', '@daily')".encode())
    assert tick() == 1
    assert state(tx) == [("daily", None, False, False, True)]
    passed(tx, days=2)
    assert (tick(), tick()) == (1, 1)
    assert rows(tx, "select name, args::text from lavoro.waiting") == [("report", "[]")]


@pytest.mark.parametrize(
    ("timing", "zone", "words"),
    [
        ("every other day", None, "the crontab 'every other day' has 3 fields"),
        ("0 25 * * *", None, "field 2 (hour) of the crontab '0 25 * * *' is '25'"),
        ("@daily", "Mars/Olympus", "the zone 'Mars/Olympus' is not known"),
        ("@every so often", None, "'so often' is no duration"),
    ],
)
def test_a_wrong_row_is_told_and_mended(tx: Tx, tick: Tick, timing: str, zone: str | None, words: str) -> None:
    """The others go on."""
    insert = "insert into lavoro.schedule (name, task, timing, zone) values (%s, 'report', %s, %s)"
    tx.connection.execute(insert, ("wrong", timing, zone))
    tx.connection.execute(insert, ("right", "@daily", None))
    assert tick() == 2
    right, wrong = state(tx)
    assert right == ("right", None, False, False, True)
    assert wrong[2:] == (True, True, True)
    assert words in str(wrong[1])
    assert tick() == 0  # it is not tried again and again
    [problem] = [problem for problem in entries.problems(tx) if problem.name == "wrong"]
    assert (problem.kind, words in problem.words) == ("error", True)
    tx.connection.execute("update lavoro.schedule set timing = '@daily', zone = 'Europe/Rome' where name = 'wrong'")
    assert tick() == 1
    assert state(tx)[1] == ("wrong", None, False, False, True)


def test_a_resumed_schedule_goes_on_after_an_error(app: Lavoro, tx: Tx, tick: Tick) -> None:
    """A module may be installed, or a zone known, that was not before."""
    tx.connection.execute(f"{INSERT} ('wrong', 'report', 'once upon a time')".encode())
    tick()
    app.schedules.resume("wrong")
    assert state(tx) == [("wrong", None, False, True, True)]
    assert tick() == 1


def test_a_pause_in_sql(tx: Tx, tick: Tick) -> None:
    tx.connection.execute(f"{INSERT} ('often', 'report', '@every 60s')".encode())
    passed(tx, minutes=10)
    tx.connection.execute("update lavoro.schedule set paused_at = now()")
    assert tick() == 0
    tx.connection.execute("update lavoro.schedule set paused_at = null")
    assert (tick(), tick(), rows(tx, "select 1 from lavoro.waiting")) == (1, 0, [])


@pytest.mark.parametrize(
    ("column", "given"),
    [
        ("args", '{"a": 1}'), ("args", "5"), ("kwargs", "[1]"), ("options", "null"), ("missed", "never"),
        ("overlap", "maybe"), ("jitter", "-1"), ("most_runs", "0"), ("timing", ""), ("task", ""), ("name", ""),
    ],
)  # fmt: skip
def test_what_no_row_may_say(tx: Tx, column: str, given: str) -> None:
    values = {"name": "a", "task": "report", "timing": "@daily", column: given}
    names, places = ", ".join(values), ", ".join(["%s"] * len(values))
    with pytest.raises(pg.CheckViolation):
        tx.connection.execute(f"insert into lavoro.schedule ({names}) values ({places})".encode(), [*values.values()])


def test_workers_are_told_of_each_change(tx: Tx, opened: Callable[[], Tx]) -> None:
    ears = opened()
    ears.connection.execute("listen lavoro_wake")
    statements = [
        f"{INSERT} ('a', 'report', '@daily')", "update lavoro.schedule set timing = '@hourly'",
        "update lavoro.schedule set paused_at = now()", "delete from lavoro.schedule",
    ]  # fmt: skip
    for statement in statements:
        tx.connection.execute(statement.encode())
        [heard] = ears.connection.notifies(timeout=60, stop_after=1)
        assert heard.payload == "schedules:"


# What is forgotten


def test_no_tick_comes_again_when_its_row_is_forgotten(tx: Tx, tick: Tick) -> None:
    """P24: even if the definition begins earlier, as after a switch to a server whose clock is behind."""
    tx.connection.execute(f"{INSERT} ('daily', 'report', '@daily')".encode())
    passed(tx, days=2)
    tick()
    tick()
    assert value(tx, "select count(*) from lavoro.waiting") == 1
    last = value(tx, "select last_at from lavoro.schedule")
    tx.connection.execute("delete from lavoro.tick; delete from lavoro.waiting")
    passed(tx, days=2)
    assert (tick(), tick()) == (1, 0)
    assert rows(tx, "select * from lavoro.waiting") == []
    next_at = value(tx, "select next_at from lavoro.schedule")
    assert next_at == last + dt.timedelta(days=1)


def test_old_ticks_are_forgotten(tx: Tx) -> None:
    insert = (
        "insert into lavoro.tick (schedule, due_at, outcome, recorded_at) select 'a', now() - n * interval '1 day',"
        " 'sent', now() - n * interval '1 day' from generate_series(0, 9) n"
    )
    tx.connection.execute(insert.encode())
    Retention("one", {"finished_success": None, "tick": None, "attempt": None})._retain(tx)
    assert value(tx, "select count(*) from lavoro.tick") == 10
    rows(tx, "update lavoro.leader set until = now() returning 1")
    Retention("one", {"finished_success": None, "tick": 5.5 * 86400, "attempt": None})._retain(tx)
    assert value(tx, "select count(*) from lavoro.tick") == 6
    assert entries.forget_ticks(tx, kept=0.0) == 6


# Definitions that meet


def test_workers_that_start_together_define_once(app: Lavoro, database: Database, tx: Tx) -> None:
    """P17: no conflict, no lost pause, no lost last tick."""
    app.conf.beat_schedule = {f"s{n}": {"task": "report", "schedule": 60 + n} for n in range(20)}
    app.schedules.define()
    tx.connection.execute("update lavoro.schedule set paused_at = now(), last_at = now() where name = 's3'")
    before = rows(tx, "select * from lavoro.schedule order by name")
    app.conf.beat_schedule["s7"]["schedule"] = 5

    def start(_: int) -> Any:
        own = database.open("lavoro-test")
        try:
            return synchronise(app, own)
        finally:
            own.connection.close()

    with ThreadPoolExecutor(8) as pool:
        changes = [*pool.map(start, range(8))]
    assert sorted(each.changed for each in changes) == [[]] * 7 + [["s7"]]
    assert not any(each.added or each.removed for each in changes)
    after = rows(tx, "select * from lavoro.schedule order by name")
    assert [new for new, old in zip(after, before, strict=True) if new != old] == [
        row for row in after if row[0] == "s7"
    ]
    assert len(entries_of(app).usable) == 20


# Rights


def test_who_may_do_what(app: Lavoro, empty_url: str, tx: Tx) -> None:
    tx.connection.execute(roles.statements("lavoro").encode())
    app.schedules.create("a", 60, "report")

    def may(role: str, statement: str) -> bool:
        with psycopg.connect(empty_url) as connection:
            connection.execute(f"set role {role}".encode())
            try:
                connection.execute(statement.encode())
            except pg.InsufficientPrivilege:
                return False
            finally:
                connection.rollback()
            return True

    read, write = "select * from lavoro.schedule, lavoro.tick", "update lavoro.schedule set paused_at = now()"
    insert = f"{INSERT} ('b', 'report', '@daily')"
    allowed = {
        role: [may(f"lavoro_{role}", statement) for statement in (read, write, insert)]
        for role in ("worker", "readonly", "producer")
    }
    assert allowed == {"worker": [True] * 3, "readonly": [True, False, False], "producer": [False] * 3}
