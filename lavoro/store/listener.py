"""Hearing notifications: one connection that LISTENs, and holds a lock per thing it waits for while it waits."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable

import psycopg
from psycopg.rows import TupleRow

from lavoro.service import Service
from lavoro.store.database import LOST, Database

logger = logging.getLogger("lavoro.store")

PROBE = 10.0
"""Seconds after which a silent connection is asked whether it still lives."""


class Listener(Service):
    """Listens on one channel, and holds a shared advisory lock for every key that somebody waits for.

    Who notifies tries the exclusive lock first: if it is free nobody waits, and the notification is spared.
    ``heard`` is called with each payload, and with None after a (re)connection: something may have been missed.
    """

    name = "listener"

    def __init__(self, database: Database, channel: str, heard: Callable[[str | None], None]) -> None:
        super().__init__()
        self._database = database
        self._channel = f"{database.schema}_{channel}"
        self._heard = heard
        self._connection: psycopg.Connection[TupleRow] | None = None
        self._wanted: frozenset[str] = frozenset()
        self._held: frozenset[str] = frozenset()
        self._agreed = threading.Event()
        self._calls: deque[Callable[[], object]] = deque()
        self._alarm_in, self._alarm_out = os.pipe()
        os.set_blocking(self._alarm_in, False)
        self._spoke = 0.0

    def want(self, keys: Iterable[str]) -> None:
        """Say what is waited for from now on; wakes the loop."""
        wanted = frozenset(f"{self._database.schema}_{key}" for key in keys)
        if wanted != self._wanted:
            self._wanted = wanted
            self._agreed.clear()
            self.wake()

    def when_heard(self, call: Callable[[], object]) -> None:
        """Have a function called, in the loop's thread, once everything wanted is held."""
        self._calls.append(call)
        self.wake()

    def wait_until_heard(self, timeout: float) -> bool:
        """Wait until everything wanted is held, so that no later notification can be missed; False on timeout."""
        return self._agreed.wait(timeout)

    def wake(self) -> None:
        """Interrupt the wait."""
        super().wake()
        os.write(self._alarm_out, b"!")

    def step(self) -> float | None:
        """Connect if needed, take and drop locks as wanted, then wait for a notification or a wake-up."""
        connection = self._connection or self._connect()
        try:
            self._agree(connection)
            self._wait(connection)
            for notification in connection.notifies(timeout=0):
                self._heard(notification.payload)
        except (*LOST, OSError):
            self._lose()
            raise
        return 0

    def close(self) -> None:
        """Close the connection."""
        self._lose()

    def failed(self, error: Exception) -> None:
        """Log a lost connection once, not at every attempt."""
        if self._failures == 1:
            logger.warning("the listening connection was lost; polling until it is back: %s", str(error).strip())

    def _connect(self) -> psycopg.Connection[TupleRow]:
        connection = self._database.connect("lavoro-listener")
        connection.execute(f'listen "{self._channel}"'.encode())
        self._connection, self._held, self._spoke = connection, frozenset(), time.monotonic()
        self._heard(None)
        return connection

    def _agree(self, connection: psycopg.Connection[TupleRow]) -> None:
        wanted = self._wanted
        for verb, keys in (("lock", wanted - self._held), ("unlock", self._held - wanted)):
            for key in sorted(keys):
                connection.execute(f"select pg_advisory_{verb}_shared(hashtextextended(%s, 0))".encode(), (key,))
                self._spoke = time.monotonic()
        self._held = wanted
        if wanted == self._wanted:
            self._agreed.set()
            while self._calls:
                self._calls.popleft()()

    def _wait(self, connection: psycopg.Connection[TupleRow]) -> None:
        ready, _, _ = select.select([connection.fileno(), self._alarm_in], [], [], PROBE)
        if self._alarm_in in ready:
            os.read(self._alarm_in, 4096)
        if not ready and time.monotonic() - self._spoke >= PROBE:
            connection.execute("select 1")  # a half-open socket would be silent for ever
            self._spoke = time.monotonic()

    def _lose(self) -> None:
        self._held = frozenset()
        self._agreed.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class ResultListener:
    """Tells waiting callers of this process that their task has finished; connected only while somebody waits."""

    linger = 5.0
    """Seconds for which the lock is kept after the last caller left: the next may come soon."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, list[threading.Event]] = {}
        self._lock = threading.Lock()
        self._listener: _Lingering | None = None
        self.process = os.getpid()

    def subscribe(self, id: uuid.UUID, *, timeout: float) -> threading.Event:
        """Return an event that is set when the task finishes; only what finishes after this call is certain."""
        event = threading.Event()
        with self._lock:
            self._waiting.setdefault(str(id), []).append(event)
            if self._listener is None or not self._listener.alive:
                self._listener = _Lingering(self._database, "done", self._heard)
                self._listener.start()
            listener = self._listener
            listener.want(["results"])
        listener.wait_until_heard(timeout)
        return event

    def unsubscribe(self, id: uuid.UUID, event: threading.Event) -> None:
        """Stop waiting."""
        with self._lock:
            events = self._waiting.get(str(id), [])
            if event in events:
                events.remove(event)
            if not events:
                self._waiting.pop(str(id), None)
            if not self._waiting and self._listener is not None:
                self._listener.idle_since = time.monotonic()

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop(5)

    def _heard(self, payload: str | None) -> None:
        with self._lock:
            ids = list(self._waiting) if payload is None else payload.split(",")
            events = [event for id in ids for event in self._waiting.get(id, ())]
            idle = not self._waiting
            listener = self._listener
        for event in events:
            event.set()
        if idle and listener is not None and time.monotonic() - listener.idle_since > self.linger:
            listener.want([])  # the first word nobody needed: from now on finishing workers need not send any


class _Lingering(Listener):
    idle_since = 0.0
