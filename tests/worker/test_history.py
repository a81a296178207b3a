"""The duty of counting what has ended: one node does it, and another one takes it over."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator

import pytest

from lavoro.store.database import Database
from lavoro.store.tx import Tx
from lavoro.worker.supervisor import history
from lavoro.worker.supervisor.duty import Hooks
from lavoro.worker.supervisor.history import History
from lavoro.worker.supervisor.upkeep import Terms, Upkeep


@pytest.fixture
def database(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database, whose nodes count at once."""
    monkeypatch.setattr(history, "jitter", lambda low, high: 0.0)
    database = Database(migrated_url)
    yield database
    database.dispose()


def uncounted(tx: Tx, minutes: int) -> None:
    """Let the last minutes be uncounted, with a task that ended in the first of them."""
    tx.connection.execute(
        "update lavoro.history_mark set until = date_bin('1 minute', clock_timestamp(), '2000-01-01 00:00+00')"
        " - %s * interval '1 minute'", (minutes,)
    )  # fmt: skip
    tx.connection.execute("""
        insert into lavoro.finished
            (id, state, queue, priority, attempt, retries, crashes, due_at, created_at, name, finished_at)
        select gen_random_uuid(), 'SUCCESS', 'q', 0, 1, 0, 0, now(), now(), 'n', until from lavoro.history_mark""")


def test_the_node_that_counts_goes_on_and_the_others_look_seldom(database: Database) -> None:
    with database.tx() as tx:
        uncounted(tx, 30)
        first, rounds = History(), 0
        while rounds == 0 or first.due <= time.monotonic():
            first.run(tx)
            rounds += 1
        assert 3 <= rounds <= 31  # it counts more at once as long as that is quick
        assert 0 < first.due - time.monotonic() <= 60 + history.LATE
        assert tx.connection.execute("select sum(tasks)::int from lavoro.history").fetchall() == [(3,)]
        other = History()
        other.run(tx)
        assert other.due == math.inf  # it needs no round of its own


def test_another_node_counts_once_the_first_is_gone(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.tx() as tx, database.tx() as stopped:
        uncounted(tx, 1)
        with stopped.connection.transaction():
            stopped.connection.execute("select from lavoro.history_mark for update")
            other = History()
            other.run(tx)
            assert other.due == math.inf
        monkeypatch.setattr(history, "OTHERS_INTERVAL", 0.0)
        other = History()
        other.run(tx)
        assert other.due < math.inf
        assert tx.connection.execute("select sum(tasks)::int from lavoro.history").fetchall() == [(3,)]


def test_a_count_that_fails_keeps_nothing_else_from_being_done(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The duties before and after it, on the same connection."""
    monkeypatch.setattr(logging.getLogger("lavoro.worker"), "disabled", False)
    hooks = Hooks(lost=lambda ids: None, cancel=lambda cancels: None)
    upkeep = Upkeep(database, hooks, Terms("node", 30.0, 3, {"attempt": None}))
    asked: list[Tx] = []
    with database.tx() as tx:
        tx.connection.execute("alter table lavoro.history rename to gone")
    upkeep.ask(asked.append)
    upkeep.step()
    assert "upkeep failed to count the tasks that have ended, trying again: relation" in caplog.text
    assert len(asked) == 1
    upkeep.close()
