"""Mutants of schedules: a tick that is sent twice, lost, not recorded or moved is caught by the checker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
import pytest

from lavoro import Lavoro
from lavoro.beat import dispatch, planning
from lavoro.exceptions import OperationalError
from lavoro.store import joining, schedules, statements
from lavoro.store.schedules import Served
from tests.faults.plugin.rig_changes import Points
from tests.faults.stage import Stage

Change = Callable[[Any, str, Any], None]
SERVED = Served(["echo"], [])
DUE = """
    insert into lavoro.schedule (name, task, args, timing, overlap, missed, since, next_at, due_at)
    select 's' || i, 'echo', '["tick"]', '@every 2s', 'allow', (array['once', 'all'])[1 + i % 2], since,
        since + interval '2 s', since + interval '2 s'
    from generate_series(1, 4) i, (select clock_timestamp() - interval '9 s') x (since)
"""


def two_at_once(stage: Stage, app: Lavoro) -> None:
    """Two workers find the same schedules due; both have read them before one has stored the first tick."""
    both, met = threading.Barrier(2), dispatch.schedules.record

    def record(tx: Any, ticks: Any) -> Any:
        with_other = threading.BrokenBarrierError
        try:
            both.wait(1)
        except with_other:
            both.abort()
        return met(tx, ticks)

    with ThreadPoolExecutor() as threads, pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch.schedules, "record", record)
        workers = [stage.another(), stage.another()]
        for done in [threads.submit(dispatch.send_due, app, tx, SERVED, {}) for tx in workers]:
            done.result(60)
        for tx in workers:
            tx.connection.close()


def one_is_cut(stage: Stage, app: Lavoro) -> None:
    """The connection of a worker is lost before the commit; another one sends the same ticks."""
    met = dispatch.schedules.advance

    def cut(tx: Any, advances: Any) -> None:
        met(tx, advances)
        stage.connection.execute("select pg_terminate_backend(%s)", (tx.connection.info.backend_pid,))
        tx.connection.execute("select 1")

    first, second = stage.another(), stage.another()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch.schedules, "advance", cut)
        with pytest.raises(psycopg.OperationalError):
            dispatch.send_due(app, first, SERVED, {})
    dispatch.send_due(app, second, SERVED, {})
    second.connection.close()


def nothing(change: Change, stage: Stage) -> None:
    """Change nothing."""


def no_lock(change: Change, stage: Stage) -> None:
    """Lock no row: the key of the ticks alone decides."""
    text = statements.TEXTS["due_schedules"]
    assert "for update of s skip locked" in text
    change(statements, "TEXTS", {**statements.TEXTS, "due_schedules": text.replace("for update of s skip locked", "")})


def neither_lock_nor_key(change: Change, stage: Stage) -> None:
    """Let ticks have no key, so that each worker records its own."""
    no_lock(change, stage)
    stage.connection.execute("alter table lavoro.tick drop constraint tick_pkey")
    text = statements.TEXTS["record_ticks"].replace("on conflict (schedule, due_at) do nothing", "")
    change(statements, "TEXTS", {**statements.TEXTS, "record_ticks": text})


def sends_what_is_recorded_already(change: Change, stage: Stage) -> None:
    """Send the tasks of ticks that another worker has recorded."""
    no_lock(change, stage)
    original = schedules.record

    def record(tx: Any, ticks: Any) -> Any:
        original(tx, ticks)
        return {(tick.schedule, tick.due_at) for tick in ticks}

    change(dispatch.schedules, "record", record)


def publishes_beside(change: Change, stage: Stage) -> None:
    """Store the tasks in a transaction of their own."""
    original = Lavoro.publish
    change(Lavoro, "publish", lambda self, messages, *, connection=None, **options: original(self, messages, **options))


def records_no_skips(change: Change, stage: Stage) -> None:
    """Pass over missed ticks without a row."""
    change(planning, "_skipped", lambda *_: [])


def counts_from_now(change: Change, stage: Stage) -> None:
    """Count an interval from the time of the sending."""
    original = planning.next_after

    def following(schedule: Any, moment: datetime, now: datetime) -> datetime | None:
        return original(schedule, max(moment, now), now)

    change(planning, "next_after", following)


class Case(NamedTuple):
    """A play, the bug that is planted, and whether the checker has to see it."""

    play: Callable[[Stage, Lavoro], None]
    mutant: Callable[[Change, Stage], None]
    caught: bool


CASES = [
    Case(two_at_once, nothing, False),
    Case(two_at_once, no_lock, False),
    Case(two_at_once, neither_lock_nor_key, True),
    Case(two_at_once, sends_what_is_recorded_already, True),
    Case(two_at_once, records_no_skips, True),
    Case(one_is_cut, nothing, False),
    Case(one_is_cut, publishes_beside, True),
    Case(one_is_cut, counts_from_now, True),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.play.__name__}-{case.mutant.__name__}")
def test_mutant_is_caught(stage: Stage, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    app = Lavoro("rig", broker=stage.url, set_as_current=False)
    app.task(name="echo")(lambda payload: payload)
    stage.connection.execute(DUE)
    statements.statement.cache_clear()
    statements.numbered.cache_clear()
    case.mutant(monkeypatch.setattr, stage)
    case.play(stage, app)
    until(lambda: dispatch.send_due(app, stage.tx, SERVED, {}) == 4)  # the next tick of each
    app.close()
    monkeypatch.undo()
    statements.statement.cache_clear()
    statements.numbered.cache_clear()
    stage.make_due()
    stage.run_to_the_end()
    found = stage.violations()
    assert ("I9" in {violation.invariant for violation in found}) == bool(found) == case.caught, found


def test_a_conflict_fails_no_tick(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server rolls the first tries back, as a deadlock with other transactions would have it."""
    app = Lavoro("rig", broker=stage.url, set_as_current=False)
    app.task(name="echo")(lambda payload: payload)
    stage.connection.execute(DUE)
    monkeypatch.setattr(joining, "Tx", joining.Tx)
    conflicts = [{"statement": "insert_tasks", "kind": "DeadlockDetected", "times": 3}]
    Points(conflicts, "1").install(joining)
    for _ in range(3):
        with pytest.raises(OperationalError):
            dispatch.send_due(app, stage.tx, SERVED, {})
    assert dispatch.send_due(app, stage.tx, SERVED, {}) == 4
    assert conflicts[0]["times"] == 0
    app.close()
    stage.make_due()
    stage.run_to_the_end()
    assert stage.violations() == []


def until(condition: Callable[[], bool]) -> None:
    """Ask until it is so; the next tick comes within two seconds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
