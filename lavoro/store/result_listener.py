"""Telling callers that their task has finished: one listening connection for all who wait in a process."""

from __future__ import annotations

import atexit
import threading
import time
import uuid
import weakref
from collections.abc import Callable

from lavoro.runtime.forking import in_each_fork
from lavoro.store.database import Database
from lavoro.store.listener import Listener


class ResultListener:
    """Tells waiting callers of this process that their task has finished; connected since the first one waited."""

    linger = 5.0
    """Seconds for which the lock is kept after the last caller left: the next may come soon."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._forget()
        in_each_fork(self._forget)
        # Before the embedded server is stopped, which was registered earlier: else the end would look like a loss.
        atexit.register(_close_if_alive, weakref.WeakMethod(self.close))

    def _forget(self) -> None:
        """Begin without subscribers; in a forked process the thread and its connection stay with the parent."""
        self._waiting: dict[str, list[threading.Event]] = {}
        self._lock = threading.Lock()
        self._listener: Listener | None = None
        self._idle_since = 0.0
        """When the last caller left."""

    @property
    def listening(self) -> bool:
        """Whether a subscription costs nothing: the connection is there, and all that was wanted is held."""
        listener = self._listener
        return listener is not None and listener.wait_until_heard(0)

    def subscribe(self, id: uuid.UUID, *, timeout: float) -> threading.Event:
        """Return an event that is set when the task finishes; only what finishes after this call is certain."""
        event = threading.Event()
        if not self._database.listens:
            return event
        with self._lock:
            self._waiting.setdefault(str(id), []).append(event)
            if self._listener is None or not self._listener.alive:
                self._listener = Listener(self._database, "done", self._heard)
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
            if not self._waiting:
                self._idle_since = time.monotonic()

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
            listener = self._listener
            if not self._waiting and listener and time.monotonic() - self._idle_since > self.linger:
                listener.want([])  # nothing waits: from now on finishing workers need not notify
        for event in events:
            event.set()


def _close_if_alive(close: weakref.WeakMethod[Callable[[], None]]) -> None:
    if method := close():
        method()
