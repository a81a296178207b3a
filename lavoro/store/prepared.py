"""A statement in libpq's own words, for what every call sends: through psycopg's cursor it would take 45 us longer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import generators, pq
from psycopg.pq.abc import PGresult

from lavoro.store.statements import numbered


class Prepared:
    """One statement on one connection in autocommit, prepared at its first use where the session is our own.

    Values are bytes in the order in which the statement first names its parameters; ``formats`` says of each whether
    it is text or binary. The cursor, what it would find out about types, and its copies are spared; waiting, deadlines
    and errors are psycopg's.
    """

    __slots__ = ("_connection", "_formats", "_name", "_pooled", "_ready", "_sql")

    def __init__(self, connection: psycopg.Connection[Any], name: str, schema: str, formats: Sequence[int]) -> None:
        self._connection, self._formats = connection, formats
        self._sql = numbered(name, schema)[0]
        self._name = f"lavoro_{name}".encode()
        self._pooled = connection.prepare_threshold is None  # a pooler's session is not our own
        self._ready = False

    def run(self, values: Sequence[bytes | None]) -> PGresult:
        """Run the statement and return libpq's result; raises psycopg's errors."""
        if self._pooled:
            self._connection.pgconn.send_query_params(self._sql, values, None, self._formats)
            return self._answer()
        if not self._ready:
            self._prepare()
        try:
            return self._run_prepared(values)
        except psycopg.errors.InvalidSqlStatementName:  # psycopg forgets all that is prepared after a rollback
            self._prepare()
            return self._run_prepared(values)

    def _prepare(self) -> None:
        self._connection.pgconn.send_prepare(self._name, self._sql)
        with contextlib.suppress(psycopg.errors.DuplicatePreparedStatement):  # we were interrupted before we noted it
            self._answer()
        self._ready = True

    def _run_prepared(self, values: Sequence[bytes | None]) -> PGresult:
        self._connection.pgconn.send_query_prepared(self._name, values, self._formats)
        return self._answer()

    def _answer(self) -> PGresult:
        result: PGresult = self._connection.wait(generators.execute(self._connection.pgconn))[-1]
        if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
            raise psycopg.errors.error_from_result(result)
        return result
