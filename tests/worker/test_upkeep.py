"""What a node owes the database: by one of them at a time, and by the others when that one is stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest
from psycopg.errors import LockNotAvailable

from lavoro import Lavoro
from lavoro.errors import TaskRevokedError
from lavoro.store import workers
from lavoro.store.database import LOST, Database
from lavoro.store.workers import Registration, Rescue
from lavoro.worker import upkeep
from lavoro.worker.upkeep import Hooks, Upkeep
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, Ledger, StartWorker, rows

RETENTION = {"finished_success": 3600.0, "finished_failure": None, "attempt": None}


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    database = Database(migrated_url)
    yield database
    database.dispose()


def node(database: Database, name: str) -> Upkeep:
    hooks = Hooks(lost=lambda ids: None, cancel=lambda cancels: None)
    return Upkeep(database, hooks, node=name, lease=30.0, max_crashes=3, retention=RETENTION)


def test_a_rescuer_that_is_stopped_does_not_keep_others_from_it(
    database: Database, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """The server ends the session of one that was stopped in the middle, and what it had done is undone."""
    monkeypatch.setattr(upkeep, "IDLE_TIMEOUT", "200ms")
    stopped, other = node(database, "stopped"), database.open("lavoro-test")
    id = workers.register(other, Registration("gone", 0, "host", 1, "gevent", 1, [], "1", 0.0))
    tx = database.open("lavoro-test")

    def half_a_rescue() -> None:
        with stopped._impatient(tx):
            assert workers.expire(tx) == (id, "gone/0")
            assert eventually(lambda: workers.expire(other), timeout=PATIENCE, why="another may") == (id, "gone/0")
            tx.connection.execute("select 1")

    with pytest.raises(LOST):
        half_a_rescue()
    tx.connection.close()
    other.connection.close()


def test_what_is_left_at_the_end_is_rescued_though_the_connection_was_cut(database: Database) -> None:
    leaving, other = node(database, "leaving"), database.open("lavoro-test")
    id = workers.register(other, Registration("leaving", 0, "host", 1, "gevent", 1, [], "1", 30.0))
    leaving.step()
    cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lavoro-upkeep'"
    assert other.connection.execute(f"{cut} and datname = current_database()".encode()).fetchall() == [(True,)]
    leaving.rescue(Rescue(id, "it has left", [], blameless=True))
    leaving.close()
    stopped = other.connection.execute("select stopped is not null from lavoro.worker where id = %s", (id,))
    assert stopped.fetchall() == [(True,)]
    other.connection.close()


def test_no_new_child_gets_a_lease_while_renewals_fail(database: Database, migrated_url: str) -> None:
    """Row 45: somebody holds the row of its sibling's lease; it gets one as soon as that is over."""
    given: list[int] = []
    impatient = Database(f"{migrated_url}?options=-c%20lock_timeout%3D50ms")
    upkeep, registration = node(impatient, "node"), Registration("node", 0, "host", 1, "gevent", 1, [], "1", 30.0)
    upkeep.register(registration, given.append)
    upkeep.step()
    [sibling] = given
    upkeep.register(registration._replace(process=1), given.append)
    upkeep.renew()
    with database.tx() as tx, tx.connection.transaction():
        tx.connection.execute("select from lavoro.worker where id = %s for update", (sibling,))
        with pytest.raises(LockNotAvailable):
            upkeep.step()
        assert given == [sibling]
    before = upkeep.trusted_until
    upkeep.step()
    assert len(given) == 2
    assert upkeep.trusted_until > before
    upkeep.close()


COUNT_RENEWALS = """
    create table renewals ();
    create function count_renewal() returns trigger language plpgsql as
        $$ begin insert into renewals default values; return null; end $$;
    create trigger count_renewals after update of seen_at on lavoro.worker execute function count_renewal();"""


def test_a_node_whose_task_is_revoked_renews_at_once(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually
) -> None:
    """It would next in ten minutes; of the tasks of others it takes no notice."""
    start_worker("-c", "1", url=migrated_url, environment={"TEST_LEASE": "3600"})
    result = sender.send_task("nap", [600])
    eventually(lambda: ledger.starts(result.id), timeout=PATIENCE, why="it runs")
    rows(sender, COUNT_RENEWALS)
    rows(sender, f"select pg_notify('lavoro_wake', 'x' || id + 1 || ':{result.id}') from lavoro.worker")
    sender.revoke(result.id, terminate=True)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=PATIENCE)
    assert rows(sender, "select count(*) from renewals") == [(1,)]


def test_one_node_does_the_retention(
    database: Database, monkeypatch: pytest.MonkeyPatch, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    """However many there are, and at whatever time they look."""
    monkeypatch.setattr(upkeep, "jitter", lambda low, high: 0.0)
    monkeypatch.setattr(logging.getLogger("lavoro.worker"), "disabled", False)
    caplog.set_level(logging.INFO, "lavoro.worker")
    with database.tx() as tx:
        tx.connection.execute("drop table lavoro.finished_success cascade")
        tx.connection.execute(
            "create table lavoro.finished_success partition of lavoro.finished"
            " for values in ('SUCCESS', 'IGNORED') partition by range (finished)"
        )
        tx.connection.execute("create table lavoro.finished_success_rest partition of lavoro.finished_success default")
    nodes = [node(database, f"node {number}") for number in range(5)]
    together = threading.Barrier(len(nodes))

    def step(upkeep: Upkeep) -> None:
        together.wait(PATIENCE)
        upkeep.step()
        upkeep.close()

    threads = [threading.Thread(target=step, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sum("retention: made" in record.message for record in caplog.records) == 1
    with database.tx() as tx:
        assert tx.connection.execute("select term from lavoro.duty where name = 'retention'").fetchall() == [(1,)]
