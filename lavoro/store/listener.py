"""Hearing notifications: one connection that LISTENs, and holds a lock per thing it waits for while it waits."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterable

import psycopg
from psycopg.rows import TupleRow

from lavoro.exceptions import OperationalError
from lavoro.runtime.service import Service
from lavoro.store.abandoned import end_abandoned
from lavoro.store.database import Database, Tx
from lavoro.store.deadline import Backend, backend_of
from lavoro.store.errors import LOST, first_line

logger = logging.getLogger("lavoro.store")

PROBE = 60.0
"""Seconds after which a silent connection is asked whether it still lives."""
ANSWER = 10.0
"""Seconds that it has for the answer, and for all others."""


class Listener(Service):
    """Listens on one channel, and holds a shared advisory lock for every key that somebody waits for.

    Who notifies tries the exclusive lock first: if it is free nobody waits, and the notification is spared.
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
        self._lost = lost
        self._database = database
        self._channel = f"{database.schema}_{channel}"
        self._heard = heard
        self._connection: psycopg.Connection[TupleRow] | None = None
        self._lock = threading.Lock()
        """Over what is wanted, whether it is held, and the alarm: other threads change them while the loop looks."""
        self._wanted: frozenset[str] = frozenset()
        self._held: frozenset[str] = frozenset()
        self._agreed = threading.Event()
        self._calls: list[Callable[[], object]] = []
        self._came: list[str] = []
        self._alarm: tuple[int, int] | None = None
        self._spoke = 0.0
        self._abandoned: Backend | None = None

    def want(self, keys: Iterable[str]) -> None:
        """Say what is waited for from now on; wakes the loop."""
        wanted = frozenset(f"{self._database.schema}_{key}" for key in keys)
        with self._lock:
            if wanted == self._wanted:
                return
            self._wanted = wanted
            self._agreed.clear()
        self.wake()

    def when_heard(self, call: Callable[[], object]) -> None:
        """Have a function called, in the loop's thread, once everything wanted is held; never where nothing can be."""
        if not self._database.listens:
            return
        with self._lock:
            self._calls.append(call)
        self.wake()

    def wait_until_heard(self, timeout: float) -> bool:
        """Wait until everything wanted is held, so that no later notification can be missed; False on timeout."""
        return self._agreed.wait(timeout)

    def start(self) -> None:
        """Start the loop."""
        self._alarm = os.pipe()
        for end in self._alarm:
            os.set_blocking(end, False)
        super().start()

    def wake(self) -> None:
        """Interrupt the wait."""
        super().wake()
        with self._lock:
            if self._alarm is not None:
                with contextlib.suppress(BlockingIOError):  # full: it rings already
                    os.write(self._alarm[1], b"!")

    def step(self) -> float | None:
        """Connect if needed, take and drop locks as wanted, then wait for a notification or a wake-up."""
        if not self._database.listens:
            return None  # nothing is ever held, so nobody rests: everybody polls
        fresh = self._connection is None
        connection = self._connection or self._connect()
        try:
            if not self._exchange_locks(connection) and not fresh:
                self._wait(connection)
            payloads = self._collect(connection)
        except (*LOST, OSError):
            self._lose()
            self._lost()
            raise
        self._tell(payloads)
        return 0

    def close(self) -> None:
        """Close the connection."""
        self._lose()
        with self._lock:
            alarm, self._alarm = self._alarm, None
        for end in alarm or ():
            os.close(end)

    def failed(self, error: Exception) -> None:
        """Log a lost connection once, not at every attempt."""
        if not isinstance(error, (*LOST, OSError, OperationalError)):
            super().failed(error)
        elif self._failures == 1:
            logger.warning("the listening connection was lost; polling until it is back: %s", first_line(error))

    def _connect(self) -> psycopg.Connection[TupleRow]:
        connection = self._database.connect("lavoro-listener", direct=True, patience=ANSWER)
        try:
            if self._abandoned is not None:  # a session that listens and is not read fills the server's queue
                end_abandoned(Tx(connection, self._database.schema), self._abandoned)
                self._abandoned = None
            # What comes with the answer of a statement, which psycopg reads.
            connection.add_notify_handler(lambda notification: self._came.append(notification.payload))
            connection.execute(f'listen "{self._channel}"'.encode())
            self._came = []  # of a connection that was lost; who hears of a new one looks around
            self._held, self._spoke = frozenset(), time.monotonic()
            self._exchange_locks(connection)  # first: what is sent from now on is told, the rest is found by looking
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._heard(None)
        return connection

    def _exchange_locks(self, connection: psycopg.Connection[TupleRow]) -> bool:
        """Take and drop locks; tell whether there were any to take or drop.

        If so, what was notified meanwhile has been read already, and waiting would not end because of it.
        """
        wanted = self._wanted
        if wanted == self._held:
            return False
        for verb, keys in (("lock", wanted - self._held), ("unlock", self._held - wanted)):
            for key in sorted(keys):
                connection.execute(f"select pg_advisory_{verb}_shared(hashtextextended(%s, 0))".encode(), (key,))
        self._held, self._spoke = wanted, time.monotonic()
        return True

    def _collect(self, connection: psycopg.Connection[TupleRow]) -> list[str]:
        """Return what has been notified; by libpq, for psycopg's generator takes 60 us of each wake-up."""
        connection.pgconn.consume_input()
        while notification := connection.pgconn.notifies():
            self._came.append(notification.extra.decode())
        payloads, self._came = self._came, []
        return payloads

    def _tell(self, payloads: list[str]) -> None:
        """Pass on what was heard: all of it, whatever one of the calls may raise."""
        with contextlib.ExitStack() as stack:  # last in, first out
            stack.callback(self._agree)
            for payload in reversed(payloads):
                stack.callback(self._heard, payload)

    def _agree(self) -> None:
        """Tell those who wait for it that everything wanted is held."""
        with self._lock:
            if self._held != self._wanted:
                return
            self._agreed.set()
            calls, self._calls = self._calls, []
        for call in calls:
            call()

    def _wait(self, connection: psycopg.Connection[TupleRow]) -> None:
        assert self._alarm is not None
        silent_for = time.monotonic() - self._spoke
        ready, _, _ = select.select([connection.fileno(), self._alarm[0]], [], [], max(0.0, PROBE - silent_for))
        if self._alarm[0] in ready:
            os.read(self._alarm[0], 4096)
        if not ready and silent_for >= PROBE:
            connection.execute("select 1")  # a half-open socket would be silent for ever
        elif connection.fileno() not in ready:
            return
        self._spoke = time.monotonic()

    def _lose(self) -> None:
        with self._lock:
            self._held = frozenset()
            self._agreed.clear()
        if self._connection is not None:
            self._abandoned = backend_of(self._connection)
            self._connection.close()
            self._connection = None
