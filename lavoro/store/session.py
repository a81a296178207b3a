"""One connection of a loop's own, opened when it is needed; what was given up on the last one is ended first."""

from __future__ import annotations

import logging
import time

import psycopg

from lavoro.store.abandoned import end_abandoned
from lavoro.store.database import Database, Tx, first_line
from lavoro.store.deadline import Backend

logger = logging.getLogger("lavoro.store")

IDLE = 1.0
"""Seconds without use after which a connection is looked at before it is lent: servers and proxies close idle ones."""


class Session:
    """Opens a connection, keeps it, and opens another when it was lost.

    ``open`` costs nothing while the connection is in use. Each connection has a ``Tx`` of its own, by which its user
    sees that it is a new one.
    """

    def __init__(self, database: Database, application: str, *, patience: float) -> None:
        self._database, self._application, self._patience = database, application, patience
        self._tx: Tx | None = None
        self._abandoned: Backend | None = None
        self._used = 0.0
        self._log = logger.warning

    def open(self) -> Tx:
        """Lend the connection; raises ``OperationalError`` when there is none to be had."""
        now, before = time.monotonic(), self._used
        self._used = now
        if self._tx is not None and now - before > IDLE:
            self._look(self._tx)
        if self._tx is None:
            self._tx = self._connect()
        return self._tx

    def lose(self) -> None:
        """Give the connection up, in the middle of a statement perhaps: its session is ended before the next begins."""
        tx, self._tx = self._tx, None
        if tx is not None:
            self._abandoned = getattr(tx.connection, "backend", None)
            tx.connection.close()

    def close(self) -> None:
        """Close the connection, on which nothing is under way."""
        tx, self._tx = self._tx, None
        if tx is not None:
            tx.connection.close()

    def _look(self, tx: Tx) -> None:
        """Close the connection if its other end has: nothing was under way, so nothing is lost. Told once."""
        try:
            for _ in range(2):  # the server's last words are read by the first, the end by the second
                tx.connection.pgconn.consume_input()
        except psycopg.Error as error:
            self.close()
            self._log("%s was closed while it was idle, and is opened again: %s", self._application, first_line(error))
            self._log = logger.debug

    def _connect(self) -> Tx:
        tx = self._database.open(self._application, patience=self._patience)
        try:
            if self._abandoned is not None and not end_abandoned(tx, self._abandoned):
                logger.warning(
                    "session %s of %s was given up and cannot be ended: what it was doing may still be done",
                    self._abandoned.pid, self._application,
                )  # fmt: skip
        except BaseException:
            tx.connection.close()
            raise
        self._abandoned = None
        return tx
