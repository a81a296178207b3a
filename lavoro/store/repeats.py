"""Before a call is made again: the session in which it was given up has to be over, or both might be stored."""

from __future__ import annotations

import time

from psycopg import pq

from lavoro.errors import OperationalError
from lavoro.store.abandoned import WAIT, end_abandoned
from lavoro.store.database import Tx
from lavoro.store.deadline import Backend

LOOK = 0.05
"""Seconds between two looks whether statements behind a pooler are over."""

_OLDER = b"""
    select count(*) from pg_stat_activity
    where application_name = %s and datname = current_database() and pid <> pg_backend_pid()
        and state = 'active' and query_start < %s
"""


class GivenUp:
    """The sessions of one database in which calls were given up, as far as their end has not been seen."""

    def __init__(self) -> None:
        self._sessions: set[Backend] = set()

    def add(self, session: Backend | None) -> None:
        """Remember one; None, where the database gave an answer, is none."""
        if session is not None:
            self._sessions.add(session)

    def add_interrupted(self, tx: Tx) -> None:
        """Remember the session of a statement that was left by an exception, unless the statement is over."""
        if tx.connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            self.add(getattr(tx.connection, "backend", None))

    def end(self, tx: Tx) -> None:
        """End them all: what their calls did is seen by the next statement, or never happens.

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
    """Wait until no call runs that began before; one that takes longer than its client waits is ended.

    For sessions behind a pooler, where nobody knows which one a call runs in. False if that takes too long.
    """
    row = tx.cursor.execute("select clock_timestamp()").fetchone()
    deadline, parameters = time.monotonic() + session.patience + WAIT, (session.application, row and row[0])
    while end_abandoned(tx, session) and time.monotonic() < deadline:
        if tx.cursor.execute(_OLDER, parameters).fetchone() == (0,):
            return True
        time.sleep(LOOK)
    return False
