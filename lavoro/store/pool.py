"""Pooled connections that are borrowed for a block, or pinned: kept borrowed for the next user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import pq

from lavoro.exceptions import OperationalError
from lavoro.store.deadline import backend_of
from lavoro.store.errors import means_loss, translated

if TYPE_CHECKING:
    from lavoro.store.database import Database
    from lavoro.store.tx import Tx


class Borrowed:
    """A pooled connection for the length of a block; written out, because every call needs it."""

    __slots__ = ("_database", "_fairy", "_pool")

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> Tx:
        self._pool = self._database.engine.pool
        self._fairy = self._database._borrow()
        return self._database._tx_of(self._fairy)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        lost = error is not None and means_loss(error)
        try:
            if error is not None:
                self._translate(error, lost=lost)
        finally:
            give_back(self._fairy, keep=not lost and self._pool is self._database.engine.pool)

    def _translate(self, error: BaseException, *, lost: bool) -> None:
        backend = backend_of(self._fairy.driver_connection)
        if lost:
            self._fairy.invalidate()
            self._database.dispose()  # a restart of the server has ended the others as well
        try:
            with translated():
                raise error
        except OperationalError as own:
            own.abandoned = backend if lost else None
            raise


class Pinned(Borrowed):
    """A pooled connection that stays borrowed until it is lost or its pool is disposed of."""

    __slots__ = ("_busy", "_tx")

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._tx: Tx | None = None
        self._busy = False

    def __enter__(self) -> Tx:
        self._busy = True  # first, so that no other thread gives it back meanwhile
        tx, engine = self._tx, self._database._engine
        if tx is None or engine is None or self._pool is not engine.pool:
            self._release()
            tx = self._tx = super().__enter__()
        return tx

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._busy = False
        if error is not None:
            self._tx = None
            super().__exit__(kind, error, traceback)
        elif (engine := self._database._engine) is None or self._pool is not engine.pool:
            self.release()

    def release(self) -> None:
        """Give the connection back, unless it is in use: then its user does."""
        if not self._busy:
            self._release()

    def _release(self) -> None:
        if self._tx is None:
            return
        self._tx = None
        give_back(self._fairy, keep=False)


def give_back(fairy: Any, *, keep: bool) -> None:
    """Return a connection to the pool, unless it was interrupted while it waited: the next would get that answer."""
    connection = fairy.driver_connection
    if connection is not None and not (keep and connection.pgconn.transaction_status == pq.TransactionStatus.IDLE):
        fairy.invalidate()
    fairy.close()
