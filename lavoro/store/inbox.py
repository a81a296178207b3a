"""Reading a connection that listens: by its loop, or by a caller that waits for one of the notifications."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import psycopg

from lavoro.runtime.alarm import Alarm, readable

PROBE = 60.0
"""Seconds after which a silent connection is asked whether it still lives."""
AWAY = 0.25
"""Seconds without a sign of the caller after which the loop reads again."""


class Inbox:
    """The notifications of one connection, for one reader at a time.

    A caller that reads itself returns without a change of threads, which takes up to 0.2 ms.
    """

    def __init__(self) -> None:
        self._alarm = Alarm()
        self.turn = threading.Lock()
        """Held while the connection is used, by the loop or by a caller."""
        self._came: list[str | None] = []
        self._spoke = 0.0
        """When the server was heard last."""
        self._borrowed, self._sign = False, -math.inf
        """Whether a caller is to read, and when it gave its last sign of that."""
        self._lent = threading.Event()
        """Set while the loop leaves the reading to a caller."""

    def open(self) -> None:
        """Let rings be heard."""
        self._alarm.open()

    def close(self) -> None:
        """Let rings do nothing."""
        self._alarm.close()

    def ring(self) -> None:
        """End the loop's wait, or else the next one."""
        self._alarm.ring()

    # From the loop

    def attach(self, connection: psycopg.Connection[Any]) -> None:
        """Read another connection; its first notification is None: something may have been missed."""
        # For notifications that come with the answer of a statement, which psycopg reads.
        connection.add_notify_handler(lambda notification: self._came.append(notification.payload))
        self._came = [None]
        self._lent.clear()
        self.spoke()

    def spoke(self) -> None:
        """Take in that the server has answered."""
        self._spoke = time.monotonic()

    def wait(self, connection: psycopg.Connection[Any]) -> None:
        """Wait for a notification or a ring; while a caller reads, for a ring alone."""
        socket, alarm = connection.fileno(), self._alarm.fileno()
        while True:
            now = time.monotonic()
            if lent := self._borrowed and now - self._sign < AWAY:
                self._lent.set()
            else:
                self._lent.clear()
                if self._came:  # with the answer to a caller, who has not read it
                    return
            ready = readable(
                [alarm] if lent else [socket, alarm], AWAY if lent else max(0.0, self._spoke + PROBE - now)
            )
            if ready or not lent:
                break
        self._lent.clear()
        if alarm in ready:
            self._alarm.silence()
        if not ready and time.monotonic() - self._spoke >= PROBE:
            with self.turn:
                connection.execute("select 1")  # a half-open socket would be silent for ever
        elif socket not in ready:
            return
        self.spoke()

    def collect(self, connection: psycopg.Connection[Any]) -> list[str | None]:
        """Return what has been notified; by libpq, for psycopg's generator takes 60 us of each wake-up."""
        with self.turn:
            connection.pgconn.consume_input()
            while notification := connection.pgconn.notifies():
                self._came.append(notification.extra.decode())
            payloads, self._came = self._came, []
        return payloads

    # From callers

    def borrow(self) -> None:
        """Leave the reading to the caller as long as it reads."""
        self._borrowed, self._sign = True, time.monotonic()
        if not self._lent.is_set():
            self._alarm.ring()

    def give_back(self) -> None:
        """Have the loop read again."""
        self._borrowed = False
        self._alarm.ring()

    def read(self, connection: psycopg.Connection[Any], seconds: float) -> list[str | None] | None:
        """Wait at most so long, and return what has been notified; None if the loop is to read."""
        if not self._borrowed:
            return None
        self._sign = time.monotonic()
        if not self._lent.is_set():
            self._alarm.ring()
            self._lent.wait(min(seconds, AWAY / 2))
            return []  # the loop may have read before that
        if not self._came and not readable([connection.fileno()], min(seconds, AWAY / 2)):
            return []
        self.spoke()
        return self.collect(connection)
