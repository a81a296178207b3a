"""A schema of another name: everything works in it, and the two of one database do not hear each other."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import pytest

from lavoro import serialization
from lavoro.exceptions import WorkerLostError
from lavoro.protocol import outcome
from lavoro.store import queues, tasks, workers
from lavoro.store.database import Database
from lavoro.store.listener import Listener
from lavoro.store.result_listener import ResultListener
from lavoro.store.schema import partitions
from lavoro.store.schema.migrate import migrate
from lavoro.store.tx import Tx
from lavoro.store.workers import Ending, Rescue
from tests.store.walk import message, registered, rows, sent_and_taken, stage_of, stored, succeeded, take, value


@pytest.fixture
def shop(migrated_url: str) -> Iterator[Database]:
    """A database with Lavoro's schema under two names, one of which is a word of SQL."""
    database = Database(migrated_url, schema="order")
    migrate(database)
    yield database
    database.dispose()


@pytest.fixture
def tx(shop: Database) -> Iterator[Tx]:
    tx = shop.open("lavoro-test")
    assert registered(tx) == 1
    yield tx
    tx.connection.close()


def test_a_task_walks_through_its_tables(shop: Database, tx: Tx) -> None:
    done, retried, lost = (sent_and_taken(tx) for _ in range(3))
    assert tasks.finish(tx, 1, [succeeded(done)]) == 1
    assert tasks.requeue(tx, 1, [outcome.retrying(retried, countdown=60.0)]) == 1
    assert tasks.revoke(tx, [retried.id], cancel="{}") == 1
    assert tasks.store_progress(tx, 1, lost, state="HALF", meta=None)
    [rescued] = workers.rescue(tx, Rescue(1, Ending.expired("gone")), max_crashes=1)
    assert (rescued.waiting, len(rescued.ended)) == (0, 1)
    assert [stage_of(tx, job.id) for job in (done, retried, lost)] == ["finished"] * 3
    error = serialization.loads_exception(serialization.loads(stored(tx, lost.id).result or ""))
    assert type(error) is WorkerLostError
    assert value(tx, 'select count(*) from "order".tasks') == 3
    assert value(tx, "select count(*) from lavoro.tasks") == 0
    assert queues.queue_status(shop) == []


def test_its_function_and_its_partitions(tx: Tx) -> None:
    value(tx, """select "order".enqueue('a.b', queue => 'q')""")
    assert rows(tx, "select 1 from lavoro.waiting") == []
    assert value(tx, 'select name from "order".waiting') == "a.b"
    assert partitions.partitions_of(tx, "finished_success")
    assert partitions.make_ahead(tx) == []
    assert partitions.drop_behind(tx, {"finished_success": 0.0}) == []


def test_its_channels_and_locks(shop: Database, tx: Tx) -> None:
    heard: dict[str, queue.SimpleQueue[str | None]] = {"order": queue.SimpleQueue(), "lavoro": queue.SimpleQueue()}
    other = Database(shop.url)
    listeners = [Listener(database, "wake", heard[database.schema].put) for database in (shop, other)]
    for listener in listeners:
        listener.start()
        listener.want(["queue:celery"])
        assert listener.wait_until_heard(60)
    tasks.insert(tx, [message()])
    tasks.insert(tx, [message(), message()])
    value(tx, """select "order".enqueue('a.b')""")
    value(tx, "select lavoro.enqueue('a.b', queue => 'mark')")
    assert [heard["order"].get(timeout=60) for _ in range(4)] == [None, "due:0:celery", "due:0:celery", "due:0:celery"]
    assert [heard["lavoro"].get(timeout=60) for _ in range(2)] == [None, "due:0:mark"]
    for listener in listeners:
        listener.stop(60)


def test_its_results_are_told(shop: Database, tx: Tx) -> None:
    tasks.insert(tx, [message()])
    [job] = take(tx)
    waiting = ResultListener(shop)
    subscription = waiting.subscribe(job.id, timeout=60)
    subscription.take()
    tasks.finish(tx, 1, [succeeded(job)])
    assert subscription.wait(60)
    waiting.close()
