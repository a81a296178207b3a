"""The databases that tests take in turn are as good as new."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest

from lavoro.store import workers
from lavoro.store.tx import Tx
from lavoro.store.workers import Registration
from tests import stock as module
from tests.postgres import Cluster
from tests.stock import Stock


@pytest.fixture
def stock(cluster: Cluster, migrated_template: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stock]:
    """One that lends the database that has come back first."""
    monkeypatch.setattr(module, "OTHERS", 0)
    stock = Stock(cluster, migrated_template)
    yield stock
    monkeypatch.setattr(module, "OTHERS", -1)
    cluster.drop_database(stock.take())


def connect(cluster: Cluster, name: str) -> psycopg.Connection:
    return psycopg.connect(cluster.url(name), autocommit=True)


def register(connection: psycopg.Connection, pid: int) -> int:
    return workers.register(Tx(connection, "lavoro"), Registration("n", 0, "h", pid, "solo", 1, ["celery"], "0.1", 30))


def test_rows_and_numbers_begin_anew(cluster: Cluster, stock: Stock) -> None:
    for _ in range(2):
        name = stock.take()
        with connect(cluster, name) as connection:
            assert register(connection, os.getpid()) == 1
            assert connection.execute("select count(*) from lavoro.worker").fetchone() == (1,)
            assert connection.execute("select min(version) from lavoro.meta").fetchone() == (1,)
        stock.give_back(name)
    assert stock.take() == name
    stock.give_back(name)


@pytest.mark.parametrize(
    "change",
    [
        "create table public.more (id int)",
        "alter table lavoro.waiting add column more int",
        "alter table lavoro.waiting alter column args set not null",
        "alter table lavoro.finished add constraint unlucky check (attempt <> 13)",
        "drop index lavoro.waiting_claim",
        "drop table lavoro.meta",
        "create or replace view lavoro.tasks as select * from lavoro.tasks",
        "grant select on lavoro.waiting to guarded",
        "insert into lavoro.meta values (99, 'later')",
        "do $$ begin execute 'alter database ' || current_database() || ' set work_mem = 99'; end $$",
        "create function public.one() returns int language sql as 'select 1'",
        "create schema other",
    ],
)
def test_what_a_test_has_changed_is_made_anew(cluster: Cluster, stock: Stock, change: str) -> None:
    name = stock.take()
    with connect(cluster, name) as connection:
        connection.execute(change.encode())
    stock.give_back(name)
    another = stock.take()
    assert another != name
    stock.give_back(another)


def test_a_session_or_a_worker_that_is_left_keeps_its_database(cluster: Cluster, stock: Stock) -> None:
    name = stock.take()
    with connect(cluster, name):
        stock.give_back(name)
        another = stock.take()
    assert another != name
    with connect(cluster, another) as connection:
        register(connection, os.getppid())
    stock.give_back(another)
    third = stock.take()
    assert third != another
    stock.give_back(third)
