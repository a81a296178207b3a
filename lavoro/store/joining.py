"""Joining the transaction of a caller: of a SQLAlchemy session or connection, or of a psycopg connection."""

from __future__ import annotations

from typing import Any

import psycopg
import sqlalchemy as sa

from lavoro.exceptions import ImproperlyConfigured
from lavoro.store import arrays
from lavoro.store.tx import Tx

_TWO_PHASE = (
    "a task cannot join a two-phase transaction: PostgreSQL does not prepare one that has notified workers."
    " Send the task after the commit, or in it by select lavoro.enqueue(..., wake => false): sleeping workers find it"
    " within two minutes"
)
_BUSY = (
    "the connection whose transaction this task would join is in the middle of a statement: a signal handler, a"
    " finalizer or another thread sends it. Give that call a connection of its own (connection=...)"
)


def join(connection: Any, schema: str) -> Tx:
    """Enter the transaction of a caller's connection; for the errors see ``Database.join``."""
    driver = _driver_connection(connection)
    if not isinstance(driver, psycopg.Connection):
        raise ImproperlyConfigured(
            f"a task can join a transaction of psycopg 3, not of {type(driver).__module__}:"
            " give the engine a URL that begins with postgresql+psycopg://"
        )
    if getattr(driver, "_tpc", None):  # psycopg has no public way to ask; SQLAlchemy's tpc_begin sets it too
        raise ImproperlyConfigured(_TWO_PHASE)
    if driver.lock.locked():  # if this thread holds it, waiting would never end
        raise RuntimeError(_BUSY)
    tx = Tx(driver, schema)
    arrays.register(tx.raw)  # the connection may be older than the import of this package
    return tx


def _driver_connection(connection: Any) -> Any:
    if isinstance(connection, psycopg.Connection):
        return connection
    if hasattr(connection, "get_bind") and callable(getattr(connection, "connection", None)):  # (scoped) session
        connection = connection.connection()
    if isinstance(connection, sa.Connection):
        if not connection.in_transaction():
            connection.begin()  # as its first statement would: without it SQLAlchemy has nothing to commit
        return connection.connection.driver_connection
    raise TypeError(
        "connection must be a SQLAlchemy session or connection, or a psycopg connection,"
        f" not {type(connection).__name__}"
    )
