"""A database: lends connections of SQLAlchemy's pool to callers, and opens those of the worker."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg import pq
from psycopg.rows import TupleRow

from lavoro.exceptions import OperationalError
from lavoro.runtime.forking import in_each_fork
from lavoro.store.connection import Connector, Url
from lavoro.store.deadline import ANSWER, backend_of
from lavoro.store.errors import LOST, translated
from lavoro.store.joining import join
from lavoro.store.pool import Borrowed, Pinned
from lavoro.store.statements import check_schema
from lavoro.store.tx import Tx

T = TypeVar("T")
_POOL_OPTIONS = ("pool_size", "max_overflow", "pool_timeout", "pool_use_lifo")


class Database:
    """Where tasks are stored.

    ``connector`` is the way to it, or a URL if nothing else needs to be said. Connections are made on first use.
    """

    def __init__(
        self,
        connector: Connector | Url,
        *,
        schema: str = "lavoro",
        engine_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.connector = connector if isinstance(connector, Connector) else Connector(connector)
        self.schema = check_schema(schema)
        self._engine_options = dict(engine_options or {})
        self.patience = ANSWER
        """Seconds that statements on pooled connections wait for their answer."""
        self._begin_anew()
        in_each_fork(self._forget)

    def _begin_anew(self) -> None:
        self._engine: sa.Engine | None = None
        self._making_engine = threading.RLock()  # a finalizer that sends a task may need one while it is made
        self._pinned = Pinned(self)
        self._spares: list[Tx] = []
        self._own: dict[Any, Any] = {}

    def own(self, make: Callable[[Database], T]) -> T:
        """Return the one object that ``make`` has made for this database, at the first call."""
        found: T | None = self._own.get(make)
        return self._own.setdefault(make, make(self)) if found is None else found

    def _forget(self) -> None:
        """In a forked process, drop the parent's connections and the locks that its threads may hold."""
        _of_parents.append((self._engine, self._pinned, self._spares, self._own))
        self._begin_anew()

    @property
    def url(self) -> str:
        """The URL in libpq's form."""
        return self.connector.url

    @property
    def listens(self) -> bool:
        """Whether notifications can be heard: not through a pooler in transaction mode."""
        return self.connector.listens

    @property
    def engine(self) -> sa.Engine:
        """SQLAlchemy's engine over this database, in autocommit, made on first use and once per process."""
        if self._engine is None:
            with self._making_engine:
                if (engine := self._engine) is None:
                    engine = self._engine = self._make_engine()
                return engine
        return self._engine

    def _make_engine(self) -> sa.Engine:
        options: dict[str, Any] = {"pool_size": 10, "max_overflow": 20, "pool_timeout": 30, "pool_recycle": 3600}
        options.update(self._engine_options)
        if options["pool_size"] == 0:  # SQLAlchemy's pool would read it as "without a limit"
            options = {name: value for name, value in options.items() if name not in _POOL_OPTIONS}
            options["poolclass"] = sa.NullPool
        # Every statement here is its own transaction, so there is nothing to roll back when a connection returns.
        return sa.create_engine(
            "postgresql+psycopg://",
            creator=lambda: self.connect("lavoro", patience=self.patience),
            isolation_level="AUTOCOMMIT",
            pool_reset_on_return=None,
            **options,
        )

    def connect(
        self, application: str, *, direct: bool = False, patience: float = math.inf
    ) -> psycopg.Connection[TupleRow]:
        """Open a connection of one's own; for the options see ``Connector.connect``."""
        return self.connector.connect(application, direct=direct, patience=patience)

    def open(self, application: str, *, direct: bool = False, patience: float = math.inf) -> Tx:
        """Open a connection of one's own, ready for statements; for the options see ``connect``."""
        return Tx(self.connect(application, direct=direct, patience=patience), self.schema)

    def tx(self) -> contextlib.AbstractContextManager[Tx]:
        """Borrow a pooled connection in autocommit; a lost one leaves the pool. Raises this package's errors."""
        return Borrowed(self)

    @contextlib.contextmanager
    def apart(self) -> Iterator[Tx]:
        """Lend a connection outside of the pool, for a block that cannot wait. Raises this package's errors."""
        tx = self._spare() or self.open("lavoro", patience=self.patience)
        try:
            with translated():
                yield tx
        except OperationalError as error:
            if isinstance(error.__cause__, LOST):
                error.abandoned = backend_of(tx.connection)
            raise
        finally:
            if tx.connection.pgconn.transaction_status == pq.TransactionStatus.IDLE and not self._spares:
                self._spares.append(tx)
            else:
                tx.connection.close()

    def _spare(self) -> Tx | None:
        """Take the connection that was lent before, if there is one."""
        with contextlib.suppress(IndexError):
            return self._spares.pop()
        return None

    def pinned(self) -> contextlib.AbstractContextManager[Tx]:
        """As ``tx``, for one user at a time: the connection stays borrowed for the next one.

        Borrowing and giving back costs a lone call a fifth of its time. Without a pool there is nothing to keep.
        """
        engine = self._engine or self.engine
        return self.tx() if isinstance(engine.pool, sa.NullPool) else self._pinned

    def _borrow(self) -> sa.PoolProxiedConnection:
        try:
            with translated():
                return self.engine.raw_connection()
        except sa.exc.TimeoutError as error:
            raise OperationalError(f"no connection was free in time (setting broker_pool_limit): {error}") from error

    def _tx_of(self, fairy: Any) -> Tx:
        info = fairy.info  # lives as long as the connection, so its cursor keeps the prepared statements at hand
        tx = info.get("lavoro_tx")
        if tx is None or tx.connection is not fairy.driver_connection:
            fairy.driver_connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED  # SQLAlchemy unsets it
            tx = info["lavoro_tx"] = Tx(fairy.driver_connection, self.schema)
        return tx  # type: ignore[no-any-return]

    def join(self, connection: Any) -> Tx:
        """Enter the transaction of the caller's SQLAlchemy session or connection, or psycopg connection.

        Raises ``TypeError`` for anything else, ``ImproperlyConfigured`` for a session on another driver and for a
        two-phase transaction, and ``RuntimeError`` if the connection is in the middle of a statement.
        """
        return join(connection, self.schema)

    def dispose(self) -> None:
        """Close the pooled connections; new ones are made when needed."""
        if self._engine is not None:
            self._engine.dispose()
            self._pinned.release()
        if tx := self._spare():
            tx.connection.close()


_of_parents: list[Any] = []
"""Pools of parent processes, kept: freeing them would take locks that threads of the parent may have held."""
