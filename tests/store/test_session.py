"""A loop's own connection: opened again when it was lost, after what was given up on it has ended."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import psycopg
import pytest

from lavoro.store import session
from lavoro.store.database import Database
from lavoro.store.session import Session
from lavoro.store.tx import Tx
from tests.conftest import Eventually
from tests.store.conftest import Opened
from tests.store.walk import send, take, value


@pytest.fixture
def mine(database: Database) -> Iterator[Session]:
    """A session that gives statements up after a fifth of a second."""
    mine = Session(database, "lavoro-mine", patience=0.2)
    yield mine
    mine.close()


@pytest.fixture(autouse=True)
def listened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("lavoro.store"), "disabled", False)


def test_the_connection_is_kept(mine: Session) -> None:
    assert mine.open() is mine.open()


def test_an_error_in_a_block_loses_the_connection_and_tells_it_once(database: Database) -> None:
    lost: list[str] = []
    with Session(database, "lavoro-mine", patience=5, lost=lambda: lost.append("lost")) as mine:
        first = mine.open()
    assert (mine.tx, lost) == (first, [])
    for _ in range(2):  # the second time there is none to lose
        with pytest.raises(ValueError, match="no number"), mine:
            raise ValueError("no number")
    assert (mine.tx, first.connection.closed, lost) == (None, True, ["lost"])
    assert mine.open() is not first
    mine.close()
    assert (mine.tx, lost) == (None, ["lost"])


def test_what_was_given_up_is_over_before_the_next_statement(mine: Session, opened: Opened, tx: Tx) -> None:
    """A claim that waits for a lock; else it would be done when the lock is free, and nobody would know of it."""
    send(tx)
    holder = opened()
    with holder.connection.transaction():
        holder.connection.execute("lock table lavoro.waiting in share mode")
        with pytest.raises(psycopg.OperationalError, match="no answer"):
            take(mine.open())
        mine.lose()
        mine.open()
    assert len(take(mine.open(), worker_id=2)) == 1


def test_a_connection_that_was_closed_while_idle_is_opened_again(
    mine: Session, tx: Tx, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    """No statement fails because of it, and it is told in one line, once."""
    monkeypatch.setattr(session, "IDLE", 0.0)
    caplog.set_level(logging.INFO, "lavoro.store")
    for _ in range(2):
        mine.open()
        value(tx, "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'lavoro-mine'")
        eventually(lambda: value(mine.open(), "select 1") == 1, timeout=5)
    [told] = caplog.messages
    assert told.startswith("lavoro-mine was closed while it was idle, and is opened again: ")
    assert "\n" not in told


def test_the_server_does_not_close_it_while_idle(database: Database, mine: Session, tx: Tx) -> None:
    value(tx, "select set_config('idle_session_timeout', '1s', false)")
    assert value(mine.open(), "select current_setting('idle_session_timeout')") == "0"
