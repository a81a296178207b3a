"""The upkeep of held tasks: they expire, old barriers go, and handlers that nobody has called are found."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest

from lavoro.protocol import outcome
from lavoro.protocol.ids import uuid7
from lavoro.protocol.place import Place
from lavoro.store import tasks
from lavoro.store.database import Database
from lavoro.store.tx import Tx
from lavoro.worker.supervisor.held_tasks import HeldTasks
from lavoro.worker.supervisor.retention import Retention
from tests.store.walk import message, registered, rows, send, stored, succeeded, take, value

YESTERDAY = dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)


@pytest.fixture
def tx(migrated_url: str) -> Iterator[Tx]:
    database = Database(migrated_url)
    tx = database.open("lavoro-test")
    registered(tx)
    yield tx
    tx.connection.close()
    database.dispose()


@pytest.fixture
def due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Duties whose time has come."""
    monkeypatch.setattr("lavoro.worker.supervisor.held_tasks.INTERVAL", 0.0)
    monkeypatch.setattr("lavoro.worker.supervisor.held_tasks.jitter", lambda *_: 0.0)


@pytest.mark.usefixtures("due")
def test_an_expired_held_task_ends(tx: Tx) -> None:
    blocker = send(tx)
    waits = message(expires=YESTERDAY, place=Place(None, None, 1, (blocker,)))
    tasks.insert(tx, [waits])
    HeldTasks(lambda: None).run(tx)
    found = stored(tx, waits.id)
    assert (found.state, "expired" in (found.result or "")) == ("REVOKED", True)


@pytest.mark.usefixtures("due")
def test_handlers_are_called_that_no_node_has_heard_of(tx: Tx) -> None:
    called: list[bool] = []
    duty = HeldTasks(lambda: called.append(True))
    duty.run(tx)
    assert called == []
    blocker = send(tx)
    tasks.insert(tx, [message(place=Place(None, None, 1, (blocker,)))])
    [job] = take(tx)
    tasks.finish(tx, 1, [outcome.failed(job, '{"exc_type":"ValueError"}', None)])
    duty.run(tx)
    assert called == [True]


def test_old_barriers_go(tx: Tx, monkeypatch: pytest.MonkeyPatch) -> None:
    barrier = uuid7()
    sent = [message(place=Place(f'{{"{barrier}":0}}')), message(place=Place(held_for=barrier, expects=1))]
    tasks.insert(tx, sent)
    tasks.finish(tx, 1, [succeeded(job) for job in take(tx)])
    rows(tx, "delete from lavoro.waiting returning 1")
    rows(tx, "update lavoro.barrier set ended_at = ended_at - interval '2 hours' returning 1")
    monkeypatch.setattr("lavoro.worker.supervisor.retention.INTERVAL", 100.0)
    retention = Retention("node", {"finished_success": 3600.0, "finished_failure": None, "attempt": None})
    monkeypatch.setattr("lavoro.worker.supervisor.retention.INTERVAL", 61.0)
    retention.run(tx)
    assert value(tx, "select count(*) from lavoro.barrier") == 0
    assert value(tx, "select count(*) from lavoro.member") == 0
