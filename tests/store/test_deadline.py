"""Deadlines of statements: an answer that never comes is an error in time, and nothing else changes."""

from __future__ import annotations

import subprocess
import sys
import textwrap

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


UNDER_GEVENT = """
    from gevent import monkey
    monkey.patch_all()
    import gevent, sys
    from psycopg import OperationalError
    from lavoro.store.database import Database

    def answer(connection):
        try:
            return connection.execute("select repeat('x', 3000000), pg_sleep(0.05)").fetchall()[0][0].count("x")
        except OperationalError as error:
            return str(error)

    behind, direct, short = (Database(sys.argv[number]).connect("t", patience=30) for number in (1, 2, 2))
    behind.patience = short.patience = 0.5
    print(behind.execute("select length(%s)", ["x" * 3_000_000]).fetchone()[0], flush=True)  # waits for writing too
    sys.stdin.readline()
    waiting = gevent.spawn(answer, behind)
    gevent.sleep(0)
    print(answer(direct), waiting.ready(), flush=True)  # others go on while one waits for its answer
    print(waiting.get(), flush=True)
    short.close()
    print(answer(short), flush=True)
"""


def test_greenlets_wait_beside_each_other_and_none_too_long(cluster: Cluster, migrated_url: str) -> None:
    with Proxy(cluster.port) as proxy:
        command = [sys.executable, "-c", textwrap.dedent(UNDER_GEVENT), proxy.url(migrated_url), migrated_url]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdin is not None
            assert program.stdout is not None
            assert program.stdout.readline() == "3000000\n"
            proxy.swallow("down")
            program.stdin.write("\n")
            program.stdin.flush()
            assert program.stdout.readline() == "3000000 False\n"
            assert program.stdout.readline().startswith("no answer within 0.5 s")
            assert "closed" in program.stdout.readline()
        assert program.returncode == 0
