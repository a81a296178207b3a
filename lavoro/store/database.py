"""Connections: SQLAlchemy's engine and pool for callers, direct connections for the worker, and the caller's own."""

from __future__ import annotations

import contextlib
import os
import re
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

import psycopg
import sqlalchemy as sa
from psycopg import errors as pg
from psycopg.rows import TupleRow

from lavoro.errors import ImproperlyConfigured, OperationalError, SchemaOutdated
from lavoro.store.statements import check_schema, statement

Row = tuple[Any, ...]
LOST = (psycopg.OperationalError, psycopg.InterfaceError)
"""What psycopg raises when a connection is lost or cannot be made."""


class Tx:
    """A place to run statements: a cursor of one connection, whose owner decides when it commits."""

    __slots__ = ("connection", "cursor", "schema")

    def __init__(self, connection: psycopg.Connection[TupleRow], schema: str) -> None:
        self.connection = connection
        self.cursor = connection.cursor(binary=True)
        self.schema = schema

    def run(self, name: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Run the statement of that name and return its rows."""
        return self.cursor.execute(statement(name, self.schema), parameters).fetchall()

    def row(self, name: str, parameters: Mapping[str, Any] | None = None) -> Row | None:
        """Run the statement of that name and return its first row."""
        return self.cursor.execute(statement(name, self.schema), parameters).fetchone()


class Database:
    """Where tasks are stored.

    ``url`` is a PostgreSQL URL or a function that returns one, asked again for each new connection (the embedded
    database starts itself so). ``connect_timeout`` is in seconds. Connections are made on first use.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        *,
        schema: str = "lavoro",
        connect_timeout: float = 4,
        engine_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._url = url
        self.schema = check_schema(schema)
        self.connect_timeout = connect_timeout
        self._engine_options = dict(engine_options or {})
        self._engine: sa.Engine | None = None

    @property
    def url(self) -> str:
        """The URL in libpq's form."""
        return clean_url(self._url() if callable(self._url) else self._url)

    @property
    def engine(self) -> sa.Engine:
        """SQLAlchemy's engine over this database, in autocommit, made on first use and once per process."""
        if self._engine is None:
            self._engine = self._make_engine()
        return self._engine

    def _make_engine(self) -> sa.Engine:
        options: dict[str, Any] = {"pool_size": 10, "max_overflow": 20, "pool_timeout": 30, "pool_recycle": 3600}
        options.update(self._engine_options)
        # Every statement here is its own transaction, so there is nothing to roll back when a connection returns.
        engine = sa.create_engine(
            "postgresql+psycopg://",
            creator=lambda: self.connect("lavoro"),
            isolation_level="AUTOCOMMIT",
            pool_reset_on_return=None,
            **options,
        )
        if hasattr(os, "register_at_fork"):
            dispose = weakref.WeakMethod(engine.dispose)
            os.register_at_fork(after_in_child=lambda: _dispose_after_fork(dispose))
        return engine

    def connect(self, application: str) -> psycopg.Connection[TupleRow]:
        """Open a connection of one's own, in autocommit, with keepalives; raises ``OperationalError``."""
        try:
            return psycopg.connect(
                self.url,
                autocommit=True,
                client_encoding="utf8",
                connect_timeout=max(2, int(self.connect_timeout)),
                application_name=application,
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=20_000,
            )
        except psycopg.OperationalError as error:
            raise OperationalError(f"cannot connect to {masked(self.url)}: {first_line(error)}") from error
        except psycopg.ProgrammingError as error:
            raise ImproperlyConfigured(f"{masked(self.url)} is no PostgreSQL URL: {first_line(error)}") from error

    def open(self, application: str) -> Tx:
        """Open a connection of one's own, ready for statements."""
        return Tx(self.connect(application), self.schema)

    @contextlib.contextmanager
    def tx(self) -> Iterator[Tx]:
        """Borrow a pooled connection in autocommit; a lost one leaves the pool. Raises this package's errors."""
        try:
            fairy = self.engine.raw_connection()
        except sa.exc.TimeoutError as error:
            raise OperationalError(f"no connection was free in time (setting broker_pool_limit): {error}") from error
        try:
            with translated():
                yield self._borrowed(fairy)
        except OperationalError:
            fairy.invalidate()
            raise
        finally:
            fairy.close()

    def _borrowed(self, fairy: Any) -> Tx:
        info = fairy.info  # lives as long as the connection, so its cursor keeps the prepared statements at hand
        tx = info.get("lavoro_tx")
        if tx is None or tx.connection is not fairy.driver_connection:
            tx = info["lavoro_tx"] = Tx(fairy.driver_connection, self.schema)
        return tx  # type: ignore[no-any-return]

    def join(self, connection: Any) -> Tx:
        """Enter the transaction of the caller's SQLAlchemy session or connection, or psycopg connection.

        Raises ``TypeError`` for anything else and ``ImproperlyConfigured`` for a session on another driver.
        """
        driver = _driver_connection(connection)
        if not isinstance(driver, psycopg.Connection):
            raise ImproperlyConfigured(
                f"a task can join a transaction of psycopg 3, not of {type(driver).__module__}:"
                " give the engine a URL that begins with postgresql+psycopg://"
            )
        return Tx(driver, self.schema)

    def dispose(self) -> None:
        """Close the pooled connections; new ones are made when needed."""
        if self._engine is not None:
            self._engine.dispose()


def _dispose_after_fork(dispose: weakref.WeakMethod[Any]) -> None:
    method = dispose()
    if method is not None:
        method(close=False)  # the sockets belong to the parent


def _driver_connection(connection: Any) -> Any:
    if isinstance(connection, psycopg.Connection):
        return connection
    if hasattr(connection, "get_bind") and callable(getattr(connection, "connection", None)):  # (scoped) session
        connection = connection.connection()
    if isinstance(connection, sa.Connection):
        return connection.connection.driver_connection
    raise TypeError(
        "connection must be a SQLAlchemy session or connection, or a psycopg connection,"
        f" not {type(connection).__name__}"
    )


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn psycopg's errors into this package's, with what to do."""
    try:
        yield
    except (pg.UndefinedTable, pg.InvalidSchemaName, pg.UndefinedColumn, pg.UndefinedFunction) as error:
        raise SchemaOutdated(
            f"the database lacks Lavoro's tables or has those of another release ({first_line(error)}):"
            " run `lavoro migrate -A yourapp`"
        ) from error
    except LOST as error:
        raise OperationalError(f"the database did not answer: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


_USERINFO = re.compile(r"^(?P<scheme>postgres(?:ql)?(?:\+psycopg)?)://(?P<rest>.*)$", re.DOTALL)


def clean_url(url: str) -> str:
    """Write a URL the way libpq reads it.

    The driver's name goes, and user and password are quoted, so that a password may hold any character: it ends at
    the last ``@`` before the host. ``%40`` and the like are understood as always.
    """
    found = _USERINFO.match(url.strip())
    if not found:
        raise ImproperlyConfigured(f"{masked(url)!r} is no PostgreSQL URL: it must begin with postgresql://")
    rest = found["rest"]
    userinfo, at, location = rest.rpartition("@")
    if "?" in userinfo and "/" in userinfo.partition("?")[0]:  # the @ belongs to the options, not to the password
        userinfo, at, location = "", "", rest
    user, colon, password = userinfo.partition(":")
    return f"postgresql://{_quoted(user)}{colon}{_quoted(password)}{at}{location}"


def _quoted(text: str) -> str:
    return quote(unquote(text), safe="")


def masked(url: str) -> str:
    """Return the URL for people: without its password."""
    hidden = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url, flags=re.DOTALL)
    return re.sub(r"(password=)[^&\s]*", r"\1***", hidden)
