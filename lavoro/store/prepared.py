"""A prepared statement on libpq's level, for single tasks on their way: psycopg's cursor would take 45 us longer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import psycopg
from psycopg import generators, pq
from psycopg.pq.abc import PGresult

from lavoro.store.statements import numbered

Values = Sequence[bytes | None]


class Prepared:
    """One statement on one connection in autocommit, prepared where the session is our own.

    Values are bytes in the order in which the statement first names its parameters; ``formats`` says of each whether
    it is text or binary, and ``answer_format`` says it of the columns of the answer. There is no cursor, no lookup of
    types and no copy; waiting, deadlines and errors are psycopg's.
    """

    __slots__ = ("_connection", "_name", "_sql", "send")

    def __init__(
        self, connection: psycopg.Connection[Any], name: str, schema: str, formats: Sequence[int], *,
        answer_format: int = pq.Format.TEXT,
    ) -> None:  # fmt: skip
        self._connection, pgconn = connection, connection.pgconn
        self._name, self._sql = f"lavoro_{name}".encode(), numbered(name, schema)[0]
        self.send: Callable[[Values], None]
        """Sends the statement with these values, from C to C; ``answer`` must follow."""
        if connection.prepare_threshold is None:  # a pooler's session is not our own
            self.send = partial(pgconn.send_query_params, self._sql, param_formats=formats, result_format=answer_format)
        else:
            self.prepare()
            self.send = partial(
                pgconn.send_query_prepared, self._name, param_formats=formats, result_format=answer_format
            )

    def prepare(self) -> None:
        """Have the server prepare the statement."""
        self._connection.pgconn.send_prepare(self._name, self._sql)
        with contextlib.suppress(psycopg.errors.DuplicatePreparedStatement):  # we were interrupted before we knew
            self.answer()

    def run(self, values: Values) -> PGresult:
        """Run the statement and return libpq's result; raises psycopg's errors."""
        self.send(values)
        return self.answer()

    def answer(self) -> PGresult:
        """Wait for the result of the statement that was sent."""
        result: PGresult = self._connection.wait(generators.execute(self._connection.pgconn))[-1]
        if result.status not in _DONE:
            raise psycopg.errors.error_from_result(result)
        return result


_DONE = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)
