"""Telling callers that their task has finished: one listening connection for all who wait in a process."""

from __future__ import annotations

import atexit
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Collection
from typing import TypeVar

from lavoro.runtime.forking import in_each_fork
from lavoro.store.database import Database
from lavoro.store.listener import Listener
from lavoro.store.tx import Tx

T = TypeVar("T")


class Subscription:
    """The tasks that one caller waits for, and the ids of those that have ended since."""

    __slots__ = ("_database", "_ended", "_event", "ids", "missed", "reads")

    def __init__(self, database: Database, ids: Collection[uuid.UUID]) -> None:
        self._database, self.ids = database, ids
        self.reads: Listener | None = None
        """The listener whose connection this caller reads itself, because no other caller waits."""
        self.missed = False
        """Whether ends may have been missed: the connection is a new one."""
        self._ended: deque[str] = deque()
        self._event = threading.Event()

    def wait(self, seconds: float) -> bool:
        """Wait until a task of this subscription ends; return whether one has."""
        deadline = time.monotonic() + seconds
        while self.reads is not None and not self._event.is_set() and (left := deadline - time.monotonic()) > 0:
            if not self.reads.read(left):
                break
        return self._event.wait(max(0.0, deadline - time.monotonic()))

    def ask(self, question: Callable[[Tx], T]) -> T:
        """Put a question to the database: on the connection that this caller reads, else on a pooled one."""
        if (listener := self.reads) is not None and (answer := listener.ask(question)) is not None:
            return answer[0]
        with self._database.tx() as tx:
            return question(tx)

    def take(self) -> set[uuid.UUID] | None:
        """Return the ids that have ended since the last time; None if any may have."""
        self._event.clear()  # first: an end that comes now sets it again
        missed, self.missed = self.missed, False
        ended: set[uuid.UUID] = set()
        while self._ended:
            ended.add(uuid.UUID(self._ended.popleft()))
        return None if missed else ended

    def tell(self, id: str | None) -> None:
        """Take in that a task has ended, or that any may have; ``wake`` must follow."""
        if id is None:
            self.missed = True
        else:
            self._ended.append(id)

    def wake(self) -> None:
        """End the wait."""
        self._event.set()


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
        self._waiting: dict[str, list[Subscription]] = {}
        self._lock = threading.Lock()
        self._listener: Listener | None = None
        self._reader: Subscription | None = None
        """The caller that reads the connection itself."""
        self._idle_since = 0.0
        """When the last caller left."""

    @property
    def listening(self) -> bool:
        """Whether a subscription costs nothing: the connection is there, and all that was wanted is held."""
        listener = self._listener
        return listener is not None and listener.wait_until_heard(0)

    def subscribe(self, *ids: uuid.UUID, timeout: float) -> Subscription:
        """Return what tells when these tasks finish; only what finishes after this call is certain."""
        subscription = Subscription(self._database, ids)
        if not self._database.listens:
            return subscription
        with self._lock:
            alone = not self._waiting
            for id in ids:
                self._waiting.setdefault(str(id), []).append(subscription)
            if self._listener is None or not self._listener.alive:
                self._listener = Listener(self._database, "done", self._heard)
                self._listener.start()
            listener = self._listener
            listener.want(["results"])
            self._let_read(listener, subscription if alone else None)
        listener.wait_until_heard(timeout)
        return subscription

    def _let_read(self, listener: Listener, subscription: Subscription | None) -> None:
        """Let a caller that waits alone read the connection itself; None: the loop reads, for all of them."""
        before, self._reader = self._reader, subscription
        if before is not None:
            before.reads = None
        if subscription is not None:
            subscription.reads = listener
            listener.borrow()
        elif before is not None:
            listener.give_back()

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop waiting."""
        with self._lock:
            for id in map(str, subscription.ids):
                others = self._waiting.get(id, [])
                if subscription in others:
                    others.remove(subscription)
                if not others:
                    self._waiting.pop(id, None)
            if self._reader is subscription:
                self._reader = subscription.reads = None  # the loop notices soon, and sooner another caller reads
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
            told = set()
            for id in list(self._waiting) if payload is None else payload.split(","):
                for subscription in self._waiting.get(id, ()):
                    subscription.tell(None if payload is None else id)
                    told.add(subscription)
            listener = self._listener
            if not self._waiting and listener and time.monotonic() - self._idle_since > self.linger:
                listener.want([])  # nothing waits: from now on finishing workers need not notify
        for subscription in told:
            subscription.wake()


def _close_if_alive(close: weakref.WeakMethod[Callable[[], None]]) -> None:
    if method := close():
        method()
