"""Fixtures of the inspector's tests: an application on a database of its own, and a connection to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lavoro import Lavoro
from lavoro.inspector import Inspector
from lavoro.store.tx import Tx
from tests.store.walk import registered


@pytest.fixture
def app(migrated_url: str) -> Iterator[Lavoro]:
    """An application on an empty database with the live worker 1, node@test, of the queue celery."""
    with Lavoro("shop", broker=migrated_url, set_as_current=False) as app:
        with app.database.tx() as tx:
            assert registered(tx) == 1
        yield app


@pytest.fixture
def tx(app: Lavoro) -> Iterator[Tx]:
    """A connection in autocommit."""
    tx = app.database.open("lavoro-test")
    yield tx
    tx.connection.close()


@pytest.fixture
def inspector(app: Lavoro) -> Inspector:
    return app.inspector
