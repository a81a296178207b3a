"""Connections: SQLAlchemy's engine and pool for callers, direct connections for the worker, and the caller's own."""

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

from lavoro.exceptions import ImproperlyConfigured, OperationalError
from lavoro.runtime.forking import in_each_fork
from lavoro.store import arrays
from lavoro.store.deadline import ANSWER, Backend, PatientConnection, backend_of
from lavoro.store.errors import LOST, first_line, translated
from lavoro.store.pool import Borrowed, Pinned
from lavoro.store.statements import check_schema
from lavoro.store.tx import Tx
from lavoro.store.url import clean_url, masked

T = TypeVar("T")
OWN_SESSION = (
    b"select set_config('enable_seqscan', 'off', false), set_config('jit', 'off', false),"
    b" set_config('plan_cache_mode', 'force_generic_plan', false),"
    b" set_config('idle_session_timeout', '0', false),"
    b" set_config('default_transaction_isolation', 'read committed', false),"
    b" pg_backend_pid()::text,"
    b" (select extract(epoch from backend_start)::text from pg_stat_activity where pid = pg_backend_pid())"
)
"""For a session of our own. The server keeps the plans of prepared statements: one made while the tables are empty
would read them from one end to the other, until the next ANALYZE comes by. After a quiet night a flood of 200,000 tasks
was claimed 100 times slower, up to a minute long. No values could make a better plan, so the first is kept.
The sessions of resting workers are idle by design. Every statement is written for read committed: a stricter level,
which may be the database's default, would refuse some of them.
Number and start of the session are read so that it can be ended once it is abandoned."""
_POOL_OPTIONS = ("pool_size", "max_overflow", "pool_timeout", "pool_use_lifo")
_TWO_PHASE = (
    "a task cannot join a two-phase transaction: PostgreSQL does not prepare one that has notified workers."
    " Send the task after the commit, or in it by select lavoro.enqueue(..., wake => false): resting workers find it"
    " within two minutes"
)
_BUSY = (
    "the connection whose transaction this task would join is in the middle of a statement: a signal handler, a"
    " finalizer or another thread sends it. Give that call a connection of its own (connection=...)"
)


class Database:
    """Where tasks are stored.

    ``url`` is a PostgreSQL URL or a function that returns one, asked again for each new connection (the embedded
    database starts itself so). ``connect_timeout`` is in seconds. Connections are made on first use. ``pooled`` says
    that the URL leads to a pooler in transaction mode, where nothing may belong to a session, no prepared statement
    and no LISTEN; ``direct_url`` leads past it.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        *,
        schema: str = "lavoro",
        connect_timeout: float = 4,
        engine_options: Mapping[str, Any] | None = None,
        pooled: bool = False,
        direct_url: str | None = None,
    ) -> None:
        self._url = url
        self._pooled, self._direct_url = pooled, direct_url
        self.schema = check_schema(schema)
        self.connect_timeout = connect_timeout
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
        return clean_url(self._url() if callable(self._url) else self._url)

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

    @property
    def listens(self) -> bool:
        """Whether notifications can be heard: not through a pooler in transaction mode."""
        return not self._pooled or self._direct_url is not None

    def connect(
        self, application: str, *, direct: bool = False, patience: float = math.inf
    ) -> psycopg.Connection[TupleRow]:
        """Open a connection of one's own, in autocommit, with keepalives; raises ``OperationalError``.

        ``direct`` goes past a pooler where the way is known: for what belongs to one session, as LISTEN does.
        ``patience`` is how many seconds a statement waits for its answer until it raises psycopg's OperationalError.
        """
        past = direct and self._direct_url is not None
        url = clean_url(self._direct_url) if past and self._direct_url else self.url
        shared = self._pooled and not past
        try:
            connection = PatientConnection.connect(
                url,
                autocommit=True,
                client_encoding="utf8",
                prepare_threshold=None if shared else 5,
                connect_timeout=max(2, int(self.connect_timeout)),
                application_name=application,
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=20_000,
            )
            connection.patience = patience
            connection.backend = Backend(application, patience)
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED  # of transactions behind a pooler too
            return connection if shared else _begun(connection, connection.backend)
        except psycopg.OperationalError as error:
            raise OperationalError(f"cannot connect to {masked(url)}: {first_line(error)}") from error
        except psycopg.ProgrammingError as error:
            raise ImproperlyConfigured(f"{masked(url)} is no PostgreSQL URL: {first_line(error)}") from error

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
        tx = Tx(driver, self.schema)
        arrays.register(tx.cursor)  # the connection may be older than the import of this package
        return tx

    def dispose(self) -> None:
        """Close the pooled connections; new ones are made when needed."""
        if self._engine is not None:
            self._engine.dispose()
            self._pinned.release()
        if tx := self._spare():
            tx.connection.close()


_of_parents: list[Any] = []
"""Pools of parent processes, kept: freeing them would take locks that threads of the parent may have held."""


def _begun(connection: PatientConnection, backend: Backend) -> PatientConnection:
    try:
        row = connection.execute(OWN_SESSION).fetchone()
    except BaseException:
        connection.close()
        raise
    assert row is not None
    *_, pid, start = row
    connection.backend = backend._replace(pid=int(pid), start=start)
    return connection


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
