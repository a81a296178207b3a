"""What was given up is ended before it is done again: it has happened by then, or never does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from lavoro.exceptions import OperationalError
from lavoro.store.abandoned import end_abandoned
from lavoro.store.connection import Connector
from lavoro.store.database import Database
from lavoro.store.deadline import Backend, PatientConnection
from lavoro.store.tx import Tx
from tests.faults.proxy import Proxy
from tests.postgres import Cluster
from tests.store.conftest import Opened
from tests.store.walk import send, take, value

APPLICATION = "lavoro-patient"
INSERT = b"insert into lavoro.queue (name) values ('late')"


@contextmanager
def given_up(database: Database, *, application: str = APPLICATION) -> Iterator[Backend]:
    """A statement that waits for a lock, and whose client has stopped waiting; its session lives on."""
    holder = database.open("lavoro-holder")
    with holder.connection.transaction():
        holder.connection.execute("lock table lavoro.queue")
        connection = database.connect(application, patience=0.3)
        assert isinstance(connection, PatientConnection)
        with pytest.raises(psycopg.OperationalError, match=r"no answer within 0.3 s"):
            connection.execute(INSERT)
        connection.close()
        assert connection.backend is not None
        yield connection.backend
    holder.connection.close()


def sessions(tx: Tx, application: str = APPLICATION) -> int:
    query = "select count(*) from pg_stat_activity where application_name = %s"
    return int(value(tx, query, application))


def test_it_never_happens_after_its_end(database: Database, tx: Tx) -> None:
    with given_up(database) as backend:
        assert sessions(tx) == 1
        assert end_abandoned(tx, backend)
        assert sessions(tx) == 0
    assert value(tx, "select count(*) from lavoro.queue") == 0
    assert end_abandoned(tx, backend)  # again: nothing is there


def test_without_that_it_happens_late(database: Database, tx: Tx, eventually: Callable[..., None]) -> None:
    with given_up(database):
        pass
    eventually(lambda: value(tx, "select count(*) from lavoro.queue") == 1)


def test_a_claim_that_was_given_up_takes_nothing(database: Database, tx: Tx, opened: Opened) -> None:
    send(tx)
    holder = opened()
    with holder.connection.transaction():
        holder.connection.execute("lock table lavoro.waiting in share mode")
        claimer = database.open(APPLICATION, patience=0.3)
        with pytest.raises(psycopg.OperationalError, match="no answer"):
            take(claimer)
        claimer.connection.close()
        backend = getattr(claimer.connection, "backend", None)
        assert isinstance(backend, Backend)
        assert end_abandoned(tx, backend)
    assert len(take(tx)) == 1


@pytest.mark.parametrize(
    "other", [{"start": "1.000000"}, {"application": "shop"}], ids=["a later session", "somebody else's"]
)
def test_the_next_session_of_that_number_is_spared(database: Database, tx: Tx, other: dict[str, str]) -> None:
    with given_up(database) as backend:
        assert end_abandoned(tx, backend._replace(**other))
        assert sessions(tx) == 1


def test_a_session_of_a_user_whom_we_may_not_end(cluster: Cluster, database: Database, tx: Tx) -> None:
    """As where the database's password and user are replaced every day."""
    cluster.execute("drop role if exists yesterday")
    cluster.execute("create role yesterday login")
    try:
        other = Database(database.url.replace("postgres@", "yesterday@"))
        connection = other.connect("lavoro-today", patience=5)
        with given_up(database) as backend:
            assert not end_abandoned(Tx(connection, "lavoro"), backend)
            assert sessions(tx) == 1
        connection.close()
    finally:
        cluster.execute("drop role yesterday")


def test_behind_a_pooler_only_the_time_tells(database: Database, tx: Tx) -> None:
    pooled = Database(Connector(database.url, pooled=True))
    with given_up(pooled) as backend:
        assert backend == Backend(APPLICATION, 0.3)
        assert end_abandoned(tx, backend._replace(patience=60))
        assert sessions(tx) == 1  # its client might still wait
        assert end_abandoned(tx, backend)
        assert sessions(tx) == 0
    assert value(tx, "select count(*) from lavoro.queue") == 0


def test_the_error_of_a_call_names_what_was_given_up(cluster: Cluster, database: Database) -> None:
    with Proxy(cluster.port) as proxy:
        behind = Database(proxy.url(database.url))
        with behind.tx() as tx:
            pid = value(tx, "select pg_backend_pid()")
        proxy.cut()
        with pytest.raises(OperationalError, match="did not answer") as caught, behind.tx() as tx:
            tx.connection.execute("select 1")
        behind.dispose()
    assert caught.value.abandoned.pid == pid
    with pytest.raises(OperationalError, match="refused") as caught, database.tx() as tx:
        tx.connection.execute("select 1 / 0")
    assert caught.value.abandoned is None
