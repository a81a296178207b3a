"""Everything works in a schema whose name has to be quoted, beside another one in the same database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest

from lavoro.monitoring import doctor
from lavoro.protocol.ids import uuid7
from lavoro.protocol.outcome import requeued
from lavoro.store import offers, queues, tasks, workers
from lavoro.store.database import Database
from lavoro.store.listener import Listener
from lavoro.store.schema import drift, migrate, partitions, roles
from lavoro.store.statements import FOLDER, numbered
from lavoro.store.tx import Tx
from lavoro.store.workers import Ending, Rescue
from tests.conftest import Eventually
from tests.postgres import Cluster
from tests.store.walk import message, registered, send, sent_and_taken, stage_of, succeeded, take, value

SCHEMA = "Shop-1"
NAMES = sorted(path.stem for path in FOLDER.glob("*.sql"))
ROLES = [f'"{SCHEMA}_{role}"' for role in roles.ROLES]


@pytest.fixture(scope="module")
def url(cluster: Cluster, migrated_template: str) -> Iterator[str]:
    name = cluster.create_database(template=migrated_template)
    database = Database(cluster.url(name), schema=SCHEMA)
    assert len(migrate.migrate(database)) == len(migrate.migrations())
    yield cluster.url(name)
    database.dispose()
    cluster.drop_database(name)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url, schema=SCHEMA)
    yield database
    database.dispose()


@pytest.fixture
def tx(database: Database) -> Iterator[Tx]:
    tx = database.open("lavoro-test")
    yield tx
    tx.connection.close()


@pytest.mark.parametrize("name", NAMES)
def test_every_statement_can_be_prepared(tx: Tx, name: str) -> None:
    tx.connection.execute(b"prepare the_statement as " + numbered(name, SCHEMA)[0])


def test_the_life_of_tasks(tx: Tx) -> None:
    worker = registered(tx)
    done, again, lost = (sent_and_taken(tx, worker_id=worker) for _ in range(3))
    assert tasks.finish(tx, worker, [succeeded(done)]) == 1
    assert tasks.requeue(tx, worker, [requeued(again, "later")]) == 1
    assert [part.waiting for part in workers.rescue(tx, Rescue(worker, Ending.expired("gone")), max_crashes=3)] == [1]
    assert [stage_of(tx, job.id) for job in (done, again, lost)] == ["finished", "waiting", "waiting"]
    assert tasks.revoke(tx, [again.id, lost.id], cancel="{}") == 2
    assert value(tx, 'select count(*) from "Shop-1".tasks') == 3
    assert value(tx, "select count(*) from lavoro.tasks") == 0


def test_sql_sends_a_task_and_an_offer_is_taken(tx: Tx, database: Database, eventually: Eventually) -> None:
    heard: list[str | None] = []
    listener = Listener(database, "wake", heard.append)
    listener.start()
    listener.want(["queue:celery"])
    assert listener.wait_until_heard(20)
    worker = registered(tx)
    offers.offer(tx, worker, {"celery": 1}, seconds=60)
    id = send(tx)
    assert [job.id for job in offers.fetch(tx, worker, [id])] == [id]
    value(tx, """select "Shop-1".enqueue('test.add')""")
    assert len(take(tx, worker_id=worker)) == 1
    offers.withdraw(tx, worker)
    eventually(lambda: len(heard) >= 3)
    listener.stop(5)


def test_queues_and_doctor(database: Database, tx: Tx) -> None:
    with database.tx() as pooled:
        tasks.insert(pooled, [message(queue="odd", countdown=3.0)], always_wake=True)
    queues.pause(database, ["odd"])
    [odd] = [status for status in queues.queue_status(database) if status.queue == "odd"]
    assert (odd.scheduled, odd.paused) == (1, True)
    exam = doctor.Exam(tx=tx, retention=partitions.DEFAULT_RETENTION, backlog=1e6)
    [resume] = [finding.repair for finding in doctor.examine(exam) if finding.which == "odd"]
    assert resume.endswith("resume odd")
    queues.resume(database, ["odd"])
    assert not next(status.paused for status in queues.queue_status(database) if status.queue == "odd")
    assert queues.purge(database, ["odd"]).deleted == 1


def test_partitions_are_made_and_dropped(tx: Tx) -> None:
    long_ago = dt.datetime(2001, 1, 1, tzinfo=dt.timezone.utc)
    name = partitions.make(tx, "attempt", long_ago, long_ago + dt.timedelta(days=1))
    assert partitions.drop_behind(tx, {"attempt": partitions.DAY}) == [name]


DAMAGE = (
    'alter table "Shop-1".waiting drop column payload',
    'alter table "Shop-1".running add column more int',
    'drop index "Shop-1".waiting_claim',
    'drop table "Shop-1".queue',
    'create table "Shop-1"."More" ()',
    'alter table "Shop-1".worker alter column node type varchar',
)


def test_drift_is_repaired_by_what_is_advised(tx: Tx) -> None:
    assert list(drift.differences(tx)) == []
    for damage in DAMAGE:
        tx.connection.execute(damage.encode())
    for difference in list(drift.differences(tx)):
        tx.connection.execute(difference.repair.encode())
    assert list(drift.differences(tx)) == []


def test_roles(cluster: Cluster, tx: Tx) -> None:
    tx.connection.execute(roles.statements(SCHEMA).encode())
    try:
        for role in roles.LIMITED:
            tx.connection.execute(f'set role "{SCHEMA}_{role}"'.encode())
            assert roles.held(tx, roles.rights(role)) == roles.rights(role)
            assert roles.held(tx, roles.excluded(role)) == []
        tx.connection.execute(f'set role "{SCHEMA}_producer"'.encode())
        tasks.insert(tx, [message(id=uuid7())])
        exam = doctor.Exam(tx=tx, retention={})
        [missing, *_] = doctor.examine_role(exam, "worker")
        assert f'grant "{SCHEMA}_worker" to ' in missing.repair
    finally:
        tx.connection.execute("reset role")
        tx.connection.execute(f"drop owned by {', '.join(ROLES[1:])}".encode())
        tx.connection.execute(f"reassign owned by {ROLES[0]} to current_user".encode())
        tx.connection.execute(f"drop role {', '.join(ROLES)}".encode())
