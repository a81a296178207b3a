"""Statements at other levels of isolation than read committed, and which of them are repeated."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from lavoro.exceptions import OperationalError
from lavoro.store import tasks
from lavoro.store.connection import Connector
from lavoro.store.database import Database
from lavoro.store.tx import Tx
from tests.store.conftest import Opened
from tests.store.walk import rows, sent_and_taken, value

STRICT = ["serializable", "repeatable read"]


@pytest.mark.parametrize("level", STRICT)
def test_our_sessions_are_read_committed(database: Database, level: str) -> None:
    """Each statement is, and each transaction; behind a pooler each transaction, for nothing belongs to a session."""
    url = f"{database.url}?options=-c%20default_transaction_isolation%3D{level.replace(' ', '%5C%20')}"
    shown = b"show transaction_isolation"
    for pooled in (False, True):
        strict = Database(Connector(url, pooled=pooled))
        with strict.tx() as tx:
            alone = tx.connection.execute(shown).fetchall()
            with tx.connection.transaction():
                assert tx.connection.execute(shown).fetchall() == [("read committed",)]
        assert alone == [(level if pooled else "read committed",)]
        strict.dispose()


def test_a_statement_that_met_another_is_repeated(
    database: Database, tx: Tx, opened: Opened, until_it_waits: Callable[..., None]
) -> None:
    """Where it is a transaction of its own; here as behind a pooler of a strict database."""
    job, other = sent_and_taken(tx), opened()
    strict = Database(
        Connector(f"{database.url}?options=-c%20default_transaction_isolation%3Dserializable", pooled=True)
    )
    late = strict.open("lavoro-late")
    with ThreadPoolExecutor() as threads:
        with other.connection.transaction():
            rows(other, "update lavoro.running set progress = '1' returning 1")
            stored = threads.submit(tasks.store_progress, late, 1, job, state="HALF", meta="2")
            until_it_waits("lavoro-late")
        assert stored.result(60)
    assert value(tx, "select progress from lavoro.running") == 2
    late.connection.close()


def test_a_transaction_of_the_callers_is_not_repeated(database: Database, tx: Tx) -> None:
    """Only who began it can."""
    job = sent_and_taken(tx)
    with psycopg.connect(database.url) as strict:
        strict.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        strict.execute("select 1 from lavoro.running")
        rows(tx, "update lavoro.running set progress = '1' returning 1")
        with pytest.raises(psycopg.errors.SerializationFailure):
            tasks.store_progress(database.join(strict), 1, job, state="HALF", meta="2")


def test_a_conflict_is_no_loss_of_the_connection(database: Database) -> None:
    with database.tx() as tx:
        connection = tx.connection
    with pytest.raises(OperationalError, match="refused this"), database.tx() as tx:
        tx.connection.execute("do $$ begin raise exception using errcode = '40001'; end $$")
    with database.tx() as tx:
        assert tx.connection is connection
