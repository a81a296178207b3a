"""Notifications for one process, heard on the session that runs its statements: they need no connection more."""

from __future__ import annotations

from contextlib import suppress

import psycopg
from psycopg import Notify
from psycopg.pq.abc import PGconn

from lavoro.runtime.alarm import Alarm, readable
from lavoro.store.session import Session
from lavoro.store.tx import Tx


class Mailbox:
    """The notifications of a channel that have come, and waiting for the next.

    A connection that was lost takes its notifications along: so they are hints, for what stands in a table.
    """

    def __init__(self, session: Session, channel: str) -> None:
        self._session, self._channel = session, channel
        self._listening: Tx | None = None
        self._came: list[str] = []
        self._alarm = Alarm()

    def open(self, tx: Tx) -> bool:
        """Listen on the session's connection; False behind a pooler, where the session is not our own."""
        if tx.connection.prepare_threshold is None:
            return False
        if self._listening is not tx:
            if self._alarm.fileno() < 0:
                self._alarm.open()
            tx.connection.add_notify_handler(self._take)
            tx.connection.execute(f'listen "{self._channel}"'.encode())
            self._listening = tx
        return True

    def leave(self, tx: Tx) -> None:
        """Listen no longer: a notification for others wakes each session of the database that listens."""
        if self._listening is tx:
            tx.connection.execute(f'unlisten "{self._channel}"'.encode())
            tx.connection.remove_notify_handler(self._take)
        self._listening = None

    @property
    def listening(self) -> bool:
        """Whether the connection that listens is there."""
        return self._listening is not None and self._listening is self._session.tx

    def collect(self) -> list[str]:
        """Return the payloads that have come since the last time."""
        if self.listening:
            self._session.look()
        while self.listening and (notification := self._pgconn.notifies()):
            self._came.append(notification.extra.decode())
        came, self._came = self._came, []
        return came

    def wait(self, seconds: float | None) -> None:
        """Wait for a notification or for ``ring``, where ``listening``; abandon a connection on which waiting fails.

        A task may have closed the descriptors of its process, as code does that makes itself a daemon.
        """
        if self._came:
            return  # with the answer of the last statement
        try:
            if self._alarm.fileno() in readable(self.descriptors, seconds):
                self._alarm.silence()
        except (psycopg.Error, OSError, ValueError):
            self._session.lose()
            self.close()

    def ring(self) -> None:
        """End the wait, or else the next one."""
        self._alarm.ring()

    def close(self) -> None:
        """Close the alarm; the session stays."""
        with suppress(OSError):
            self._alarm.close()

    @property
    def descriptors(self) -> tuple[int, int]:
        """Those that are waited for: of the connection, and of the alarm."""
        return self._pgconn.socket, self._alarm.fileno()

    @property
    def _pgconn(self) -> PGconn:
        assert self._listening is not None
        return self._listening.connection.pgconn

    def _take(self, notification: Notify) -> None:
        """Keep what comes with the answer of a statement, which psycopg reads."""
        self._came.append(notification.payload)
