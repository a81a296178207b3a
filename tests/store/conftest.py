"""What the store's tests share: a migrated database, and connections to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest

from lavoro.store.database import Database
from lavoro.store.tx import Tx
from tests.conftest import Eventually
from tests.postgres import Cluster
from tests.stock import empty
from tests.store.walk import registered

Opened = Callable[[], Tx]


@pytest.fixture(scope="session")
def shared_url(cluster: Cluster, migrated_template: str) -> str:
    """The URL of a database that is emptied, which is quicker than making a new one."""
    return cluster.url(cluster.create_database(template=migrated_template))


@pytest.fixture
def empty_url(shared_url: str) -> str:
    """The URL of a database with Lavoro's schema and no rows, in which every table was just begun anew."""
    with psycopg.connect(shared_url, autocommit=True) as connection:
        empty(connection)
    return shared_url


@pytest.fixture
def database(empty_url: str) -> Iterator[Database]:
    """A database with Lavoro's schema, the live workers 1 to 6, and no tasks."""
    database = Database(empty_url)
    with database.tx() as tx:
        assert [registered(tx, process=number) for number in range(6)] == [1, 2, 3, 4, 5, 6]
    yield database
    database.dispose()


@pytest.fixture
def opened(database: Database) -> Iterator[Opened]:
    """Opens connections that are closed after the test."""
    with ExitStack() as stack:

        def opened() -> Tx:
            tx = database.open("lavoro-test")
            stack.callback(tx.connection.close)
            return tx

        yield opened


@pytest.fixture
def tx(opened: Opened) -> Tx:
    """A connection in autocommit."""
    return opened()


@pytest.fixture
def until_it_waits(cluster: Cluster, eventually: Eventually) -> Iterator[Callable[..., None]]:
    """Return once so many sessions of an application wait for a lock: `until_it_waits("lavoro-test")`."""
    # On a connection of its own: inside of a transaction the view shows what it showed first.
    with psycopg.connect(cluster.url(), autocommit=True) as connection:
        query = "select count(*) from pg_stat_activity where application_name = %s and wait_event_type = 'Lock'"

        def waiting(application: str) -> int:
            [[count]] = connection.execute(query, (application,))
            return int(count)

        def until_it_waits(application: str, *, count: int = 1) -> None:
            eventually(
                lambda: waiting(application) == count, timeout=60, why=f"{count} of {application} wait for a lock"
            )

        yield until_it_waits
