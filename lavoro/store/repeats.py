"""Ends or awaits the sessions of abandoned calls before these are repeated: otherwise both might be stored."""

from __future__ import annotations

import time

from psycopg import pq

from lavoro.exceptions import OperationalError
from lavoro.store.abandoned import WAIT, end_abandoned
from lavoro.store.deadline import Backend, backend_of
from lavoro.store.tx import Tx

LOOK = 0.05
"""Seconds between two checks whether statements behind a pooler have ended."""


class AbandonedSessions:
    """The sessions of one database in which calls were abandoned, until each is known to have ended."""

    def __init__(self) -> None:
        self._sessions: set[Backend] = set()

    def add(self, session: Backend | None) -> None:
        """Remember a session; None stands for a call that the database has answered."""
        if session is not None:
            self._sessions.add(session)

    def add_interrupted(self, tx: Tx) -> None:
        """Remember the session of a statement that an exception has interrupted, unless the statement has ended."""
        if tx.connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            self.add(backend_of(tx.connection))

    def end(self, tx: Tx) -> None:
        """End all sessions: the next statement sees the rows of their calls, or they never appear.

        Raises ``OperationalError`` if one does not end.
        """
        for session in tuple(self._sessions):
            if not (_await_older(tx, session) if session.pid is None else end_abandoned(tx, session)):
                raise OperationalError(
                    "a call got no answer, and its session in the database does not end: it is not made again, for the"
                    " first one may still be stored"
                )
            self._sessions.discard(session)


def _await_older(tx: Tx, session: Backend) -> bool:
    """Wait until all calls that began earlier have ended; end those that run for longer than their client waits.

    Used behind a pooler, where the session of a call is unknown. False if that takes too long.
    """
    row = tx.cursor.execute("select clock_timestamp()").fetchone()
    parameters = {"application": session.application, "began": row and row[0]}
    deadline = time.monotonic() + session.patience + WAIT
    while end_abandoned(tx, session) and time.monotonic() < deadline:
        if tx.row("count_older_calls", parameters) == (0,):
            return True
        time.sleep(LOOK)
    return False
