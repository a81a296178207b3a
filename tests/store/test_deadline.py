"""Deadlines of statements: an answer that never comes is an error in time, and nothing else changes."""

from __future__ import annotations

import psycopg
import pytest

from lavoro.store.database import Database
from tests.faults.proxy import Proxy
from tests.postgres import Cluster


@pytest.mark.parametrize("direction", ["up", "down"])
def test_an_answer_that_never_comes(cluster: Cluster, migrated_url: str, direction: str) -> None:
    with Proxy(cluster.port) as proxy:
        connection = Database(proxy.url(migrated_url)).connect("lavoro-test", patience=0.5)
        proxy.swallow(direction)
        with pytest.raises(psycopg.OperationalError, match="no answer within 0.5 s"):
            connection.execute("select 1")
        connection.close()


def test_waiting_shorter_than_that(migrated_url: str) -> None:
    """The deadline is of each statement, not of the connection."""
    connection = Database(migrated_url).connect("lavoro-test", patience=3)
    for _ in range(3):
        assert connection.execute("select 1 from pg_sleep(0.25)").fetchall() == [(1,)]
    with connection.transaction(), pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute("select 1 / 0")
    connection.close()


def test_a_statement_may_take_its_time_where_nobody_is_in_a_hurry(migrated_url: str) -> None:
    connection = Database(migrated_url).connect("lavoro-test")
    assert connection.execute("select 1 from pg_sleep(0.5)").fetchall() == [(1,)]
    connection.close()
