"""Statements in libpq's own words: prepared once, told apart from a pooler's sessions, failing as others do."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import pq

from lavoro.protocol.ids import uuid7
from lavoro.store.connection import Connector
from lavoro.store.database import Database
from lavoro.store.tx import Tx
from tests.store.walk import rows

FORMATS = (pq.Format.BINARY, *[pq.Format.TEXT] * 6)
PREPARED = "select count(*) from pg_prepared_statements where name like 'lavoro%'"


def values(id: bytes | None = None, args: bytes = b"[1]") -> list[bytes | None]:
    return [id or uuid7().bytes, b"celery", b"3", b"a.b", args, None, b'{"x":1}']


def test_it_is_prepared_once(tx: Tx) -> None:
    for _ in range(3):
        tx.run_prepared("insert_task_quietly", values(), FORMATS)
    assert rows(tx, PREPARED) == [(1,)]
    found = rows(tx, "select queue, priority, name, args::text, kwargs, options::text from lavoro.waiting")
    assert found == [("celery", 3, "a.b", "[1]", None, '{"x":1}')] * 3


def test_through_a_pooler_nothing_is_prepared(empty_url: str) -> None:
    with Database(Connector(empty_url, pooled=True)).connect("test") as connection:
        tx = Tx(connection, "lavoro")
        for _ in range(3):
            tx.run_prepared("insert_task_quietly", values(), FORMATS)
        assert rows(tx, PREPARED) == [(0,)]
        assert len(rows(tx, "select 1 from lavoro.waiting")) == 3


def test_an_error_of_the_server_is_psycopgs_and_the_statement_goes_on(tx: Tx) -> None:
    same = uuid7().bytes
    tx.run_prepared("insert_task_quietly", values(same), FORMATS)
    with pytest.raises(psycopg.errors.UniqueViolation, match="waiting_pkey"):
        tx.run_prepared("insert_task_quietly", values(same), FORMATS)
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        tx.run_prepared("insert_task_quietly", values(args=b"[1"), FORMATS)
    tx.run_prepared("insert_task_quietly", values(), FORMATS)


def test_a_statement_that_cannot_be_prepared_is_prepared_when_it_can_be(tx: Tx) -> None:
    tx.connection.execute("alter table lavoro.waiting rename to elsewhere")
    with pytest.raises(psycopg.errors.UndefinedTable):
        tx.run_prepared("insert_task_quietly", values(), FORMATS)
    tx.connection.execute("alter table lavoro.elsewhere rename to waiting")
    tx.run_prepared("insert_task_quietly", values(), FORMATS)


def test_a_lost_connection_is_told(tx: Tx, database: Database) -> None:
    with database.connect("other") as other:
        other.execute("select pg_terminate_backend(%s)", (tx.connection.info.backend_pid,))
    with pytest.raises(psycopg.OperationalError):
        tx.run_prepared("insert_task_quietly", values(), FORMATS)


def test_what_was_forgotten_is_prepared_again(tx: Tx) -> None:
    """psycopg forgets all that is prepared after a rollback."""
    tx.run_prepared("insert_task_quietly", values(), FORMATS)
    tx.connection.execute("deallocate all")
    tx.run_prepared("insert_task_quietly", values(), FORMATS)
    assert len(rows(tx, "select 1 from lavoro.waiting")) == 2


def test_what_was_prepared_without_our_noting_it_is_run(tx: Tx) -> None:
    """An interruption may come between the answer and the note."""
    tx.run_prepared("insert_task_quietly", values(), FORMATS)
    tx.prepared.clear()
    tx.run_prepared("insert_task_quietly", values(), FORMATS)
    assert len(rows(tx, "select 1 from lavoro.waiting")) == 2
