"""Running statements: on one connection, whose owner decides when it commits."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg import errors as pg
from psycopg import pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq.abc import PGresult
from psycopg.rows import tuple_row

from lavoro.runtime.service import jitter
from lavoro.store.errors import CONFLICTS
from lavoro.store.prepared import Prepared
from lavoro.store.statements import numbered

T = TypeVar("T")
Row = tuple[Any, ...]
_SHORT_LOCKS = (
    "select set_config('lock_timeout', %s, true), set_config('idle_in_transaction_session_timeout',"
    " coalesce(%s::text, current_setting('idle_in_transaction_session_timeout')), true)"
)
_REPEATS = 20
"""Most repeats of a statement after conflicts: at each of them another transaction has made progress."""


class Tx:
    """A place to run statements: a cursor of one connection, whose owner decides when it commits."""

    __slots__ = ("connection", "cursor", "prepared", "raw", "schema")

    def __init__(self, connection: psycopg.Connection[Any], schema: str) -> None:
        self.connection = connection
        self.cursor = psycopg.Cursor(connection, row_factory=tuple_row)  # a caller's connection may have other ideas
        self.raw = psycopg.RawCursor(connection, row_factory=tuple_row)
        """For statements with numbered parameters: psycopg reads long ones of the other kind anew each time."""
        self.cursor.format = self.raw.format = pq.Format.BINARY
        self.schema = schema
        self.prepared: dict[str, Prepared] = {}

    def run(self, name: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Run the statement of that name and return its rows."""
        return self.execute(name, parameters).fetchall()

    def row(self, name: str, parameters: Mapping[str, Any] | None = None) -> Row | None:
        """Run the statement of that name and return its first row."""
        return self.execute(name, parameters).fetchone()

    def execute(self, name: str, parameters: Mapping[str, Any] | None = None) -> psycopg.Cursor[Row]:
        """Run the statement of that name; again after a conflict, if it is a transaction of its own."""
        text, names = numbered(name, self.schema)
        values = [parameters[each] for each in names] if parameters else None
        try:
            return self.raw.execute(text, values)
        except CONFLICTS as error:
            self._must_be_alone(error)
            return self._again(partial(self.raw.execute, text, values))

    def run_prepared(
        self, name: str, values: Sequence[bytes | None], formats: Sequence[int], *,
        answer_format: int = pq.Format.TEXT,
    ) -> PGresult:  # fmt: skip
        """Run the statement of that name with values as libpq takes them; not in a caller's connection."""
        known = self.prepared.get(name)
        if known is None:
            known = self.prepared[name] = Prepared(
                self.connection, name, self.schema, formats, answer_format=answer_format
            )
        try:
            known.send(values)
            return known.answer()
        except pg.InvalidSqlStatementName:  # psycopg forgets all that is prepared after a rollback
            known.prepare()
            return known.run(values)
        except CONFLICTS as error:
            self._must_be_alone(error)
            return self._again(partial(known.run, values))

    def send(self, name: str, parameters: Mapping[str, Any]) -> None:
        """Send a statement to the server and wait for no answer; the connection can then only be closed."""
        text, names = numbered(name, self.schema)
        transformer = Transformer(self.connection)
        values = transformer.dump_sequence([parameters[each] for each in names], [PyFormat.AUTO] * len(names))
        pgconn = self.connection.pgconn
        pgconn.send_query_params(text, values, param_types=transformer.types, param_formats=transformer.formats)
        pgconn.flush()

    @contextlib.contextmanager
    def short_locks(self, timeout: str, *, idle: str | None = None) -> Iterator[None]:
        """Begin a transaction that waits no longer for a lock; the server ends its session if it is ``idle`` longer.

        Both are durations in PostgreSQL's words, such as ``200ms``. Raises psycopg's ``LockNotAvailable``.
        """
        with self.connection.transaction():
            self.connection.execute(_SHORT_LOCKS, (timeout, idle))
            yield

    def _must_be_alone(self, error: BaseException) -> None:
        """Raise the error again in a transaction of several statements: only its owner can repeat it."""
        if self.connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            raise error

    def _again(self, run: Callable[[], T]) -> T:
        for repeat in range(_REPEATS):
            time.sleep(jitter(0, 0.001 * 2 ** min(repeat, 7)))
            with contextlib.suppress(*CONFLICTS):
                return run()
        return run()
