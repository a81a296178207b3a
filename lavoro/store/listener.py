"""Hearing notifications: one connection that LISTENs, and holds a lock per thing it waits for while it waits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg import pq

from lavoro.exceptions import OperationalError
from lavoro.runtime.service import Service
from lavoro.store.database import Database
from lavoro.store.errors import LOST, first_line
from lavoro.store.inbox import Inbox
from lavoro.store.lock_set import LockSet
from lavoro.store.session import Session
from lavoro.store.tx import Tx

logger = logging.getLogger("lavoro.store")

T = TypeVar("T")

ANSWER = 10.0
"""Seconds that each statement of the connection has for its answer."""


class Listener(Service):
    """Listens on one channel, and holds a shared advisory lock for every key that a thread waits for.

    A notifier tries the exclusive lock first: if it is free no process waits, and the notification is spared.
    ``heard`` is called with each payload, and with None after a (re)connection: something may have been missed;
    ``lost`` when the connection is lost. Both in the loop's thread.
    """

    name = "listener"

    def __init__(
        self,
        database: Database,
        channel: str,
        heard: Callable[[str | None], None],
        *,
        lost: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__()
        self._listens = database.listens
        self._channel = f"{database.schema}_{channel}"
        self._heard, self._lost = heard, lost
        self._session = Session(database, "lavoro-listener", patience=ANSWER, direct=True, lost=self._connection_lost)
        self._locks = LockSet(database.schema)
        self._inbox = Inbox()

    def want(self, keys: Iterable[str]) -> None:
        """Say what is waited for from now on; wakes the loop."""
        if self._locks.want(keys):
            self.wake()

    def when_heard(self, call: Callable[[], object]) -> None:
        """Have a function called, in the loop's thread, once everything wanted is held; never where nothing can be."""
        if self._listens:
            self._locks.when_held(call)
            self.wake()

    def wait_until_heard(self, timeout: float) -> bool:
        """Wait until everything wanted is held, so that no later notification can be missed; False on timeout."""
        return self._locks.wait(timeout)

    def borrow(self) -> None:
        """Leave the reading to the calling thread, which calls ``read`` from now on."""
        self._inbox.borrow()

    def give_back(self) -> None:
        """Read by the loop again."""
        self._inbox.give_back()

    def read(self, seconds: float) -> bool:
        """Read in the calling thread, at most so long, and pass on what is heard; False while the loop reads."""
        tx = self._session.tx
        try:
            payloads = None if tx is None else self._inbox.read(tx.connection, seconds)
        except (*LOST, OSError, ValueError):  # the loop finds that, and connects again
            self.give_back()
            return False
        if payloads is None:
            return False
        for payload in payloads:
            self._heard(payload)
        return True

    def ask(self, question: Callable[[Tx], T]) -> tuple[T] | None:
        """Put a question to the database on this connection, in the calling thread; None if that is not possible now.

        That spares a caller that reads a connection of its own, and a change of processes: this connection's has just
        told it. A connection on which the answer has not come is closed, and the loop opens another.
        """
        turn = self._inbox.turn
        if not turn.acquire(blocking=False):  # in a signal handler too, which may interrupt another question
            return None
        tx = self._session.tx
        try:
            return None if tx is None else (question(tx),)
        except psycopg.Error:
            return None  # on another connection the question may have an answer, or else its error is told
        finally:
            if tx is not None and tx.connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
                tx.connection.close()
                self._inbox.ring()
            turn.release()

    def start(self) -> None:
        """Start the loop."""
        self._inbox.open()
        super().start()

    def wake(self) -> None:
        """Interrupt the wait."""
        super().wake()
        self._inbox.ring()

    def step(self) -> float | None:
        """Connect if needed, take and drop locks as wanted, then wait for a notification or a wake-up."""
        if not self._listens:
            return None  # no lock is ever held, so no worker sleeps: all poll
        try:
            payloads = self._hear()
        except BaseException:
            with self._inbox.turn:  # a caller may ask a question on it
                self._session.lose()
            raise
        self._tell(payloads)
        return 0

    def close(self) -> None:
        """Close the connection."""
        with self._inbox.turn:
            self._session.close()
        self._locks.lost()
        self._inbox.close()

    def failed(self, error: Exception) -> None:
        """Log a lost connection once, not at every attempt."""
        if not isinstance(error, (*LOST, OSError, OperationalError)):
            super().failed(error)
        elif self.failures == 1:
            logger.warning("the listening connection was lost; polling until it is back: %s", first_line(error))

    def _hear(self) -> list[str | None]:
        with self._inbox.turn:
            tx = self._session.tx
            connection = self._connect() if tx is None else tx.connection
            exchanged = tx is None or self._exchange_locks(connection)
        if not exchanged:
            self._inbox.wait(connection)
        return self._inbox.collect(connection)

    def _connect(self) -> psycopg.Connection[Any]:
        connection = self._session.open().connection
        self._inbox.attach(connection)
        connection.execute(f'listen "{self._channel}"'.encode())
        self._exchange_locks(connection)  # before None is told: it makes them look for all that was sent until now
        return connection

    def _exchange_locks(self, connection: psycopg.Connection[Any]) -> bool:
        """Take and drop locks; tell whether there were any to take or drop.

        If so, what was notified meanwhile has been read already, and waiting would not end because of it.
        """
        exchanged = self._locks.exchange(connection)
        if exchanged:
            self._inbox.spoke()
        return exchanged

    def _tell(self, payloads: list[str | None]) -> None:
        """Pass on what was heard, and that locks are held: all of it, whatever one of the calls may raise."""
        failed: Exception | None = None
        heard: list[Callable[[], object]] = [partial(self._heard, payload) for payload in payloads]
        for call in heard + self._locks.agree():
            try:
                call()
            except Exception as error:
                failed = error
        if failed is not None:
            raise failed

    def _connection_lost(self) -> None:
        self._locks.lost()
        self._lost()
