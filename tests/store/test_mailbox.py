"""Notifications heard on a session that runs statements too: none that has come is waited for."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from lavoro.store.connection import Connector
from lavoro.store.database import Database
from lavoro.store.mailbox import Mailbox
from lavoro.store.session import Session
from lavoro.store.tx import Tx
from tests.store.walk import rows

LONG = 60.0
"""Seconds that no test waits: each would fail long before, by its own time limit."""


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    session = Session(database, "mailbox", patience=LONG)
    yield session
    session.close()


@pytest.fixture
def mailbox(session: Session) -> Iterator[Mailbox]:
    mailbox = Mailbox(session, "lavoro_test")
    assert mailbox.open(session.open())
    yield mailbox
    mailbox.close()


def notify(tx: Tx, payload: str) -> None:
    rows(tx, "select pg_notify('lavoro_test', %s)", payload)


def test_a_notification_ends_the_wait(mailbox: Mailbox, tx: Tx) -> None:
    notify(tx, "one")
    mailbox.wait(LONG)
    assert mailbox.collect() == ["one"]
    assert mailbox.collect() == []


def test_one_that_came_with_an_answer_is_not_waited_for(mailbox: Mailbox, session: Session, tx: Tx) -> None:
    notify(tx, "one")
    rows(session.open(), "select pg_sleep(0.1)")
    mailbox.wait(LONG)
    assert mailbox.collect() == ["one"]


def test_a_ring_ends_the_wait_also_if_it_comes_before(mailbox: Mailbox) -> None:
    mailbox.ring()
    mailbox.wait(LONG)
    ringing = threading.Thread(target=mailbox.ring)
    ringing.start()
    mailbox.wait(LONG)
    ringing.join()
    assert mailbox.collect() == []


def test_a_connection_that_was_closed_is_noticed(
    mailbox: Mailbox, session: Session, tx: Tx, caplog: pytest.LogCaptureFixture
) -> None:
    rows(tx, "select pg_terminate_backend(pid, 60000) from pg_stat_activity where application_name = 'mailbox'")
    mailbox.wait(LONG)
    assert mailbox.collect() == []
    assert not mailbox.listening
    assert "mailbox was closed while it was idle" in caplog.text
    assert mailbox.open(session.open())
    notify(tx, "two")
    mailbox.wait(LONG)
    assert mailbox.collect() == ["two"]


def test_after_it_has_left_nothing_comes(mailbox: Mailbox, session: Session, tx: Tx) -> None:
    mailbox.leave(session.open())
    assert not mailbox.listening
    notify(tx, "one")
    rows(session.open(), "select 1")
    assert mailbox.collect() == []
    assert mailbox.open(session.open())
    notify(tx, "two")
    mailbox.wait(LONG)
    assert mailbox.collect() == ["two"]


@pytest.mark.parametrize("which", [0, 1])
def test_descriptors_that_a_task_has_closed_end_no_loop(mailbox: Mailbox, session: Session, tx: Tx, which: int) -> None:
    os.close(mailbox.descriptors[which])
    mailbox.wait(LONG)
    assert not mailbox.listening
    assert mailbox.open(session.open())
    notify(tx, "one")
    mailbox.wait(LONG)
    assert mailbox.collect() == ["one"]


def test_behind_a_pooler_it_does_not_listen(migrated_url: str) -> None:
    session = Session(Database(Connector(migrated_url, pooled=True)), "mailbox", patience=LONG)
    mailbox = Mailbox(session, "lavoro_test")
    assert not mailbox.open(session.open())
    assert not mailbox.listening
    mailbox.ring()
    session.close()
