"""``lavoro doctor``: each thing that can be wrong is made wrong, found, and gone after the repair that was told."""

from __future__ import annotations

import datetime as dt
import json
import os
import shlex
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import pq

from lavoro.monitoring import doctor
from lavoro.monitoring.doctor import Exam, Finding, schema
from lavoro.protocol.place import Place
from lavoro.store import clock, queues, tasks
from lavoro.store.database import Database
from lavoro.store.schema import partitions, roles
from lavoro.store.schema.migrate import migrate
from lavoro.store.schema.partitions import DEFAULT_RETENTION
from lavoro.store.tx import Tx
from lavoro.store.url import masked
from lavoro.text import commands
from tests import copies
from tests.conftest import Eventually
from tests.postgres import Cluster, temporary_cluster
from tests.store.walk import message, registered, rows, send, take, value

ROOT = Path(__file__).parents[2]
COPY_BOTH = pq.ExecStatus.COPY_BOTH
LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A durable server with few connections that knows prepared transactions; the URL's database is migrated."""
    with temporary_cluster(durable=True) as server:
        server.execute("alter system set max_prepared_transactions = 5")
        server.execute("alter system set max_connections = 23")
        server.restart()
        migrate(server.url(server.create_database("healthy")))
        yield server


@pytest.fixture
def url(server: Cluster) -> Iterator[str]:
    """A healthy database, where a worker of another queue is alive."""
    name = server.create_database(template="healthy")
    with closing(Database(server.url(name)).open("lavoro-test").connection) as connection:
        registered(Tx(connection, "lavoro"), process=99, queues=["elsewhere"], lease=3600.0)
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
def tx(url: str) -> Iterator[Tx]:
    tx = Database(url).open("lavoro-test")
    yield tx
    tx.connection.close()


@pytest.fixture
def other(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, application_name="report") as connection:
        yield connection


Examine = Callable[..., list[Finding]]


@pytest.fixture
def examine(tx: Tx) -> Examine:
    commands.name_app("shop")

    def examine(**changes: Any) -> list[Finding]:
        return doctor.examine(Exam(**{"tx": tx, "retention": DEFAULT_RETENTION, **changes}))

    return examine


def the_one(found: list[Finding]) -> Finding:
    [finding] = found
    return finding


def repaired(on: Tx, examine: Examine, finding: Finding, **changes: Any) -> None:
    """Do what the doctor says; the finding must be gone."""
    on.connection.execute(finding.repair.encode())
    assert examine(**changes) == []


def test_nothing_is_wrong_with_a_new_database(examine: Examine) -> None:
    assert examine() == []


# The schema


def test_no_schema_another_release(server: Cluster, tx: Tx, examine: Examine) -> None:
    empty = Database(server.url(server.create_database())).open("lavoro-test")
    assert the_one(examine(tx=empty)) == Finding(
        "schema", "lavoro", "has no tables of Lavoro's", "lavoro migrate -A shop"
    )
    empty.connection.close()
    rows(tx, "update lavoro.meta set version = version + 98 returning 1")
    assert "made by a later release" in the_one(examine()).problem


@pytest.mark.parametrize(
    ("damage", "which", "problem"),
    [
        ("alter table lavoro.waiting drop column reason", "lavoro.waiting.reason", "does not exist"),
        ("alter table lavoro.waiting add column note text", "lavoro.waiting.note", "is no column"),
        ("alter table lavoro.attempt alter column error type jsonb", "lavoro.attempt.error", "is jsonb, not json"),
        ("alter table lavoro.worker alter column node drop not null", "lavoro.worker.node", "may be null"),
        ("alter table lavoro.queue alter column paused_at set not null", "lavoro.queue.paused_at", "must not be null"),
        ("drop index lavoro.waiting_claim", "lavoro.waiting_claim", "does not exist"),
        ("drop index lavoro.running_cancelled", "lavoro.running_cancelled", "does not exist"),
        ("drop index lavoro.finished_id", "lavoro.finished_id", "does not exist"),
        ("alter table lavoro.queue drop constraint queue_pkey", "lavoro.queue_pkey", "does not exist"),
        ("drop table lavoro.revoked", "lavoro.revoked", "does not exist"),
        ("create table lavoro.notes (id integer)", "lavoro.notes", "is no table"),
    ],
)  # fmt: skip
def test_drift_of_the_schema(tx: Tx, examine: Examine, damage: str, which: str, problem: str) -> None:
    tx.connection.execute("drop view lavoro.tasks; create view lavoro.tasks as select 1 as id")
    tx.connection.execute(damage.encode())
    finding = the_one(examine())
    assert (finding.check, finding.which) == ("schema", which)
    assert problem in finding.problem
    repaired(tx, examine, finding)


def test_a_missing_view(tx: Tx, examine: Examine) -> None:
    tx.connection.execute("drop view lavoro.tasks")
    finding = the_one(examine())
    assert finding.which == "lavoro.tasks"
    assert "0001_foundation.sql" in finding.repair


@pytest.mark.parametrize("name", roles.FUNCTIONS)
def test_a_missing_function_is_made_by_migrate(tx: Tx, examine: Examine, url: str, name: str) -> None:
    tx.connection.execute(f"drop function lavoro.{name}".encode())
    finding = the_one(examine())
    assert finding.which == f"lavoro.{name}"
    assert finding.repair == commands.command("migrate")
    assert migrate(url) == []
    assert examine() == []


def test_an_invalid_index(tx: Tx, examine: Examine) -> None:
    """As `create index concurrently` leaves it when it is interrupted."""
    rows(tx, "update pg_index set indisvalid = false where indexrelid = 'lavoro.waiting_claim'::regclass returning 1")
    finding = the_one(examine())
    assert (finding.check, finding.which) == ("index", "lavoro.waiting_claim")
    repaired(tx, examine, finding)


# Vacuum


def test_a_held_snapshot(tx: Tx, other: psycopg.Connection, examine: Examine) -> None:
    other.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    other.execute("select 1")
    assert examine() == []  # it is young
    finding = the_one(examine(patience=0.0))
    assert finding.which == f"session {other.info.backend_pid} of postgres (report)"
    assert "idle in transaction" in finding.problem
    tx.connection.execute(finding.repair.encode())
    with pytest.raises(psycopg.OperationalError):
        other.execute("select 1")


def test_a_transaction_that_has_written_and_sleeps(other: psycopg.Connection, examine: Examine) -> None:
    other.execute("create table a_report (id integer)")
    assert the_one(examine(patience=0.0)).check == "snapshot"


def test_a_prepared_transaction(tx: Tx, other: psycopg.Connection, examine: Examine) -> None:
    other.execute("create table half (id integer)")
    other.execute("prepare transaction 'it''s half'")
    assert examine() == []
    finding = the_one(examine(patience=0.0))
    assert finding.which == "prepared transaction it's half of postgres"
    repaired(tx, examine, finding, patience=0.0)


def test_a_replication_slot_that_nobody_uses(server: Cluster, tx: Tx, examine: Examine, eventually: Eventually) -> None:
    """As a standby leaves it that told which rows its reports still read, and then was taken away."""
    name = "old_standby"
    rows(tx, "select pg_create_physical_replication_slot(%s)", name)
    query = "select xmin is not null, active from pg_replication_slots"
    with closing(psycopg.connect(f"{server.socket_url()}&replication=true", autocommit=True)) as standby:
        [[position]] = rows(tx, "select pg_current_wal_flush_lsn()::text")
        [[xid]] = rows(tx, "select pg_current_xact_id()::text::bigint")
        assert standby.pgconn.exec_(f"START_REPLICATION SLOT {name} PHYSICAL {position}".encode()).status == COPY_BOTH
        epoch, xmin = divmod(xid, 1 << 32)
        standby.pgconn.put_copy_data(struct.pack("!cqIIII", b"h", 0, xmin, epoch, 0, 0))
        standby.pgconn.flush()
        eventually(lambda: rows(tx, query) == [(True, True)], why="the server has heard it")
        assert examine() == []
    eventually(lambda: rows(tx, query) == [(True, False)], why="the standby is gone")
    finding = the_one(examine())
    assert (finding.check, finding.which) == ("snapshot", f"replication slot {name}")
    repaired(tx, examine, finding)


# The server


def test_durability_is_off(tx: Tx, examine: Examine) -> None:
    tx.connection.execute("set synchronous_commit = off")
    finding = the_one(examine())
    assert (finding.check, finding.which) == ("durability", "synchronous_commit")
    tx.connection.execute("reset synchronous_commit")
    assert examine() == []


@pytest.mark.parametrize(("ahead", "word"), [(60.0, "ahead of"), (-60.0, "behind")])
def test_a_clock_that_is_wrong(examine: Examine, ahead: float, word: str) -> None:
    finding = the_one(examine(clock=lambda: time.time() + ahead))
    assert finding.check == "clock"
    assert f"s {word} the database" in finding.problem


def test_a_database_that_cannot_hold_all_texts(server: Cluster) -> None:
    server.execute("create database narrow encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0")
    tx = Database(server.url("narrow")).open("lavoro-test")
    try:
        [finding] = schema.encoding(Exam(tx=tx, retention=DEFAULT_RETENTION))
    finally:
        tx.connection.close()
        server.drop_database("narrow")
    assert (finding.check, finding.which) == ("encoding", "narrow")
    assert "SQL_ASCII" in finding.problem


def test_tasks_from_the_future(tx: Tx, examine: Examine) -> None:
    """Stored by a clock that was set back since; a worker lets those begin that are due at once."""
    send(tx)
    rows(
        tx,
        "update lavoro.waiting"
        " set due_at = due_at + interval '1 h', created_at = created_at + interval '1 h' returning 1",
    )
    finding = the_one(examine())
    assert (finding.check, finding.which, finding.repair) == ("clock", "waiting", "lavoro worker -A shop")
    assert "1 task was stored up to 3600 s in the future" in finding.problem or "3599 s" in finding.problem
    clock.pull_tasks(tx)
    assert examine() == []


def test_connections_run_out(url: str, examine: Examine) -> None:
    """Of 23 the superuser has three for himself; more than 16 are in use."""
    opened = [psycopg.connect(url) for _ in range(17)]
    finding = the_one(examine())
    assert finding.check == "connections"
    assert "of 20 connections are in use" in finding.problem
    for connection in opened:
        connection.close()


def test_a_pooler_without_a_way_past_it(examine: Examine) -> None:
    assert the_one(examine(pooled=True)).which == "lavoro_direct_url"
    assert examine(pooled=True, direct_url="postgresql://localhost/x") == []


# Queues and workers


def test_no_worker_at_all(tx: Tx, examine: Examine) -> None:
    """It is told at once, and not only when tasks have waited."""
    rows(tx, "update lavoro.worker set stopped_at = now() returning 1")
    finding = the_one(examine())
    assert finding == Finding("worker", "none", "is alive: no task starts", "lavoro worker -A shop")
    send(tx, queue="mail")
    assert the_one(examine()).problem == "is alive: no task starts, and 1 task waits"
    registered(tx)
    assert examine() == []


def test_a_backlog_and_no_worker(tx: Tx, examine: Examine) -> None:
    registered(tx, queues=["video"])
    send(tx, queue="mail")
    send(tx, queue="video")
    send(tx, queue="later", countdown=3600.0)
    assert examine() == []  # they have just come
    finding = the_one(examine(backlog=0.0))
    assert (finding.check, finding.which, finding.repair) == ("queue", "mail", "lavoro worker -A shop -Q mail")
    assert finding.problem.startswith("1 task waits, ")
    registered(tx, queues=["mail"])
    assert examine(backlog=0.0) == []


def test_a_repair_that_a_shell_takes_as_it_is_meant(tx: Tx, examine: Examine) -> None:
    send(tx, queue="mail; rm -r $HOME 'now'")
    commands.name_app("my shop")
    finding = the_one(examine(backlog=0.0))
    words = ["lavoro", "worker", "-A", "my shop", "-Q", "mail; rm -r $HOME 'now'"]
    assert shlex.split(finding.repair) == words


def test_a_paused_queue(tx: Tx, url: str, examine: Examine) -> None:
    rows(tx, "insert into lavoro.queue values ('lavoro.mail', now()), ('video', null) returning 1")
    send(tx, queue="lavoro.mail")
    finding = the_one(examine(backlog=0.0))
    assert (finding.check, finding.which) == ("queue", "lavoro.mail")
    assert "1 task waits on it" in finding.problem
    assert finding.repair == "lavoro queue -A shop resume lavoro.mail"
    queues.resume(Database(url), ["lavoro.mail"])
    assert examine(backlog=60.0) == []


def test_workers_that_claim_nothing(tx: Tx, examine: Examine) -> None:
    registered(tx, queues=["mail"])
    rows(tx, "update lavoro.worker set quiet = true where 'mail' = any (queues) returning 1")
    send(tx, queue="mail")
    finding = the_one(examine(backlog=0.0))
    assert finding.problem.endswith("and the workers that serve it are quiet: node@test")
    assert finding.repair == "lavoro control -A shop -d node@test resume"
    rows(tx, "update lavoro.worker set quiet = false returning 1")
    assert examine(backlog=0.0) == []


def test_tasks_that_no_worker_has(tx: Tx, examine: Examine) -> None:
    registered(tx, queues=["mail"])
    rows(tx, "update lavoro.worker set tasks = '{shop.add}' where 'mail' = any (queues) returning 1")
    send(tx, queue="mail", name="shop.add")
    send(tx, queue="mail", name="shop.ad")
    assert examine() == []  # they have just come
    finding = the_one(examine(backlog=0.0))
    assert (finding.check, finding.which) == ("task", "shop.ad")
    assert finding.problem == "1 task waits on the queue mail, and no live worker there has that task"
    assert finding.repair == (
        "-- did you mean 'shop.add'? start a worker that has the task, or `lavoro task -A shop delete --name shop.ad`"
    )
    rows(tx, "update lavoro.worker set tasks = '{shop.add,shop.ad}' where 'mail' = any (queues) returning 1")
    assert examine(backlog=0.0) == []


# Locks


def test_a_session_that_closes_a_table(tx: Tx, other: psycopg.Connection, examine: Examine) -> None:
    """The other checks would wait for it."""
    other.execute("lock table lavoro.waiting in access exclusive mode")
    finding = the_one(examine(locked=0.0))
    assert finding.which == f"session {other.info.backend_pid} of postgres (report)"
    assert finding.problem.startswith("is idle in transaction, and keeps all others from waiting for ")
    tx.connection.execute(finding.repair.encode())
    with pytest.raises(psycopg.OperationalError):
        other.execute("select 1")
    assert examine(locked=0.0) == []


def test_a_session_whose_lock_others_wait_for(
    tx: Tx, url: str, other: psycopg.Connection, examine: Examine, eventually: Eventually
) -> None:
    send(tx)
    other.execute("lock table lavoro.waiting in share mode")
    assert examine(locked=0.0) == []
    with psycopg.connect(url, autocommit=True) as writer, ThreadPoolExecutor() as threads:
        writing = threads.submit(writer.execute, "delete from lavoro.waiting")
        [finding] = eventually(lambda: examine(locked=0.0), why="the writer waits")
        assert finding.problem.startswith("is idle in transaction, and 1 session waits for its lock of waiting for ")
        assert examine() == []  # it is young
        other.rollback()
        assert writing.result(60).rowcount == 1
    assert examine(locked=0.0) == []


def silent_for(tx: Tx, seconds: int, lease: int) -> None:
    rows(
        tx,
        "update lavoro.worker set (seen_at, expires_at) = (now() - %s * interval '1 second',"
        " now() + %s * interval '1 second') where process = 0 returning 1",
        seconds, lease - seconds,
    )  # fmt: skip


def test_an_idle_worker_renews_seldom(tx: Tx, examine: Examine) -> None:
    registered(tx)
    silent_for(tx, 100, 240)
    assert examine() == []


@pytest.mark.parametrize(
    ("lease", "seconds", "words"),
    [(30, 20, "expires soon"), (30, 60, "has expired"), (240, 150, "expires soon"), (240, 300, "has expired")],
)
def test_a_worker_that_does_not_renew(tx: Tx, examine: Examine, lease: int, seconds: int, words: str) -> None:
    """An idle one has a lease of eight times as long."""
    worker_id = registered(tx, queues=["celery"])
    send(tx)
    take(tx, worker_id=worker_id)
    assert examine() == []
    silent_for(tx, seconds, lease)
    finding = the_one(examine())
    assert (finding.check, finding.which) == ("worker", "node@test/0")
    assert words in finding.problem
    assert "holds 1 task:" in finding.problem


def test_tasks_of_a_worker_that_is_gone(tx: Tx, examine: Examine) -> None:
    worker_id = registered(tx)
    send(tx)
    take(tx, worker_id=worker_id)
    rows(tx, "update lavoro.worker set stopped_at = now() where process = 0 returning 1")
    assert examine() == []  # it may be being rescued
    rows(tx, "update lavoro.running set started_at = now() - interval '10 minutes' returning 1")
    assert the_one(examine()).which == str(worker_id)


# Retention


def test_no_partition_ahead(tx: Tx, examine: Examine) -> None:
    for partition in partitions.partitions_of(tx, "attempt"):
        rows(tx, "select lavoro.drop_partition(%s)", partition.name)
    finding = the_one(examine())
    assert (finding.check, finding.which) == ("partition", "attempt")
    assert "there is no partition" in finding.problem
    assert partitions.make_ahead(tx)  # as `lavoro migrate` does
    assert examine() == []
    assert examine(retention={"attempt": None}) == []


def test_a_partition_that_should_be_gone(tx: Tx, examine: Examine) -> None:
    old = partitions.make(tx, "finished_success", LONG_AGO, LONG_AGO + dt.timedelta(hours=6))
    finding = the_one(examine())
    assert (finding.check, finding.which) == ("partition", old)
    repaired(tx, examine, finding)


def test_another_schema(url: str, examine: Examine) -> None:
    database = Database(url, schema="order")
    migrate(database)
    with database.tx() as tx:
        registered(tx)
        rows(tx, """insert into "order".queue values ('mail', now()) returning 1""")
        assert the_one(examine(tx=tx)).which == "mail"
        rows(tx, """update "order".queue set paused_at = null returning 1""")
        assert examine(tx=tx) == []
    database.dispose()


# Roles


@pytest.mark.parametrize("role", roles.LIMITED)
def test_rights_of_the_connected_user(tx: Tx, role: str) -> None:
    commands.name_app("shop")
    exam = Exam(tx=tx, retention=DEFAULT_RETENTION)
    tx.connection.execute('create role "web-app"')
    tx.connection.execute('set role "web-app"')
    lacking = doctor.examine_role(exam, role)
    assert len(lacking) == len(roles.rights(role))
    assert lacking[0].problem == f'lacks usage on schema "lavoro", which a {role} needs'
    assert doctor.unseen(exam) != []
    tx.connection.execute("reset role")
    assert all(finding.repair == lacking[0].repair for finding in lacking)
    tx.connection.execute(roles.statements("lavoro").encode())
    tx.connection.execute(lacking[0].repair.encode())
    tx.connection.execute('set role "web-app"')
    assert doctor.examine_role(exam, role) == []
    tx.connection.execute("reset role")
    beyond = doctor.examine_role(exam, role)
    assert beyond
    assert all(f"which a {role} must not" in finding.problem for finding in beyond)
    assert doctor.unseen(exam) == []
    tx.connection.execute('drop role "web-app"')


# The command


def lavoro(folder: Path, *arguments: str, url: str) -> subprocess.CompletedProcess[str]:
    (folder / "shop.py").write_text("from lavoro import Lavoro\napp = Lavoro('shop')\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAVORO_")}
    environment |= {"LAVORO_DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
    return copies.run("lavoro", *arguments, environment=environment, folder=folder)


def test_the_command(tmp_path: Path, tx: Tx, url: str) -> None:
    """0 when all is well, 1 when not; in words and as JSON; nothing is changed."""
    healthy = lavoro(tmp_path, "doctor", "-A", "shop", url=url)
    assert (healthy.returncode, healthy.stdout) == (0, f"nothing found in {masked(url)}\n"), healthy.stderr
    rows(tx, "insert into lavoro.queue values ('mail', now()) returning 1")
    told = lavoro(tmp_path, "doctor", "-A", "shop", url=url)
    assert told.returncode == 1, told.stderr
    first, repair, last = told.stdout.splitlines()
    assert first.startswith("queue: mail has been paused for")
    assert repair == "    lavoro queue -A shop resume mail"
    assert last == f"1 problem found in {masked(url)}"
    as_json = json.loads(lavoro(tmp_path, "doctor", "-A", "shop", "--json", url=url).stdout)
    assert [(one["check"], one["which"]) for one in as_json["findings"]] == [("queue", "mail")]
    assert value(tx, "select count(*) from lavoro.queue where paused_at is not null") == 1


def test_the_command_for_a_role(tmp_path: Path, url: str) -> None:
    told = lavoro(tmp_path, "doctor", "-A", "shop", "--role", "readonly", url=url)
    assert told.returncode == 1, told.stderr
    assert "role: postgres has insert on table" in told.stdout


# Held tasks


def test_tasks_that_wait_for_tasks_that_are_gone(tmp_path: Path, url: str, tx: Tx, examine: Examine) -> None:
    blocker = send(tx, queue="elsewhere")
    waits = message(name="shop.pack", queue="elsewhere", place=Place(None, None, 1, (blocker,)))
    tasks.insert(tx, [waits])
    assert examine() == []
    rows(tx, "delete from lavoro.waiting where id = %s returning 1", blocker)
    found = the_one(examine())
    assert found.problem == "shop.pack waits for 1 task, and only 0 of them exist: it never starts"
    rows(tx, "delete from lavoro.barrier returning 1")
    found = the_one(examine())
    assert (found.which, found.problem) == (
        str(waits.id),
        "shop.pack is held, and its barrier is gone: it never starts",
    )
    assert found.repair == f"lavoro task -A shop revoke {waits.id}"
    assert lavoro(tmp_path, "task", "revoke", "-A", "shop", str(waits.id), url=url).returncode == 0
    assert value(tx, "select state from lavoro.finished where id = %s", waits.id) == "REVOKED"
    assert examine() == []


def test_tasks_that_wait_for_steps_of_a_chain_that_are_not_stored_yet(tx: Tx, examine: Examine) -> None:
    """One row has the marks of all of them."""
    step = message()
    options = json.dumps({"chain": [{"task": "shop.step", "options": {"task_id": str(step.id)}}]})
    first = message(queue="elsewhere", options=options)
    place = Place(None, None, 2, (first.id, step.id), None, ((), (first.id,)))
    tasks.insert(tx, [first])
    tasks.insert(tx, [message(name="shop.pack", queue="elsewhere", place=place)])
    assert value(tx, "select count(*) from lavoro.waiting") == 1
    assert examine() == []
