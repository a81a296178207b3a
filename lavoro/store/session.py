"""The one connection of a worker's loop, replaced when it is lost, after the abandoned session is ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

import psycopg

from lavoro.store.abandoned import end_abandoned
from lavoro.store.database import Database
from lavoro.store.deadline import Backend, backend_of
from lavoro.store.errors import first_line
from lavoro.store.tx import Tx

logger = logging.getLogger("lavoro.store")

IDLE = 1.0
"""Seconds without use after which a connection is checked before it is lent: servers and proxies close idle ones."""


class Session:
    """Opens a connection, keeps it, and opens another when it was lost.

    An error in a block ``with session:`` abandons the connection: a statement of the block may have no answer. ``lost``
    is called then. ``open`` costs nothing while the connection is in use. Each connection has a ``Tx`` of its own:
    another ``Tx`` tells the user of another connection. For ``direct`` and ``patience`` see ``Database.connect``.
    """

    def __init__(
        self,
        database: Database,
        application: str,
        *,
        patience: float,
        direct: bool = False,
        lost: Callable[[], object] = lambda: None,
    ) -> None:
        self._open = partial(database.open, application, direct=direct, patience=patience)
        self._application, self._lost = application, lost
        self.tx: Tx | None = None
        """The connection, if there is one."""
        self._abandoned: Backend | None = None
        self._used = 0.0
        self._log = logger.warning

    def open(self) -> Tx:
        """Lend the connection; raises ``OperationalError`` when none can be opened."""
        now, before = time.monotonic(), self._used
        self._used = now
        if self.tx is not None and now - before > IDLE:
            self.look()
        if self.tx is None:
            self.tx = self._connect()
        return self.tx

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self.lose()

    def lose(self) -> None:
        """Abandon the connection, perhaps during a statement: its session is ended before the next one begins."""
        tx, self.tx = self.tx, None
        if tx is not None:
            self._abandoned = backend_of(tx.connection)
            tx.connection.close()
            self._lost()

    def close(self) -> None:
        """Close the connection, on which no statement may run."""
        tx, self.tx = self.tx, None
        if tx is not None:
            tx.connection.close()

    def look(self) -> None:
        """Read what the server has sent; close the connection if the server has. Nothing is lost. Warns once."""
        if self.tx is None:
            return
        try:
            for _ in range(2):  # the first reads the server's last message, the second the end
                self.tx.connection.pgconn.consume_input()
        except psycopg.Error as error:
            self.close()
            self._log("%s was closed while it was idle, and is opened again: %s", self._application, first_line(error))
            self._log = logger.debug

    def _connect(self) -> Tx:
        tx = self._open()
        try:
            if self._abandoned is not None and not end_abandoned(tx, self._abandoned):
                logger.warning(
                    "session %s of %s was abandoned and cannot be ended: its statement may still commit",
                    self._abandoned.pid, self._application,
                )  # fmt: skip
        except BaseException:
            tx.connection.close()
            raise
        self._abandoned = None
        return tx
