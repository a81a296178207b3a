"""The shared advisory locks of a listening connection: which are wanted, and which are held."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import psycopg


class LockSet:
    """A lock for every key that a thread waits for; other threads name them, the listener's takes and drops locks."""

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._lock = threading.Lock()
        """Over all of the following."""
        self._wanted: frozenset[str] = frozenset()
        self._held: frozenset[str] = frozenset()
        self._agreed = threading.Event()
        """Set while everything wanted is held."""
        self._calls: list[Callable[[], object]] = []

    # From other threads

    def want(self, keys: Iterable[str]) -> bool:
        """Say which locks are wanted from now on; return whether others were before."""
        wanted = frozenset(f"{self._schema}_{key}" for key in keys)
        with self._lock:
            if wanted == self._wanted:
                return False
            self._wanted = wanted
            self._agreed.clear()
        return True

    def when_held(self, call: Callable[[], object]) -> None:
        """Have ``agree`` return a function once everything wanted is held."""
        with self._lock:
            self._calls.append(call)

    def wait(self, timeout: float) -> bool:
        """Wait until everything wanted is held; False on timeout."""
        return self._agreed.wait(timeout)

    # From the listener's thread

    def exchange(self, connection: psycopg.Connection[Any]) -> bool:
        """Take and drop locks; return whether there were any to take or drop."""
        wanted = self._wanted
        if wanted == self._held:
            return False
        for verb, keys in (("lock", wanted - self._held), ("unlock", self._held - wanted)):
            for key in sorted(keys):
                connection.execute(f"select pg_advisory_{verb}_shared(hashtextextended(%s, 0))".encode(), (key,))
        self._held = wanted
        return True

    def agree(self) -> list[Callable[[], object]]:
        """End the wait of those who wait if everything wanted is held; return what is to be called then."""
        with self._lock:
            if self._held != self._wanted:
                return []
            self._agreed.set()
            calls, self._calls = self._calls, []
        return calls

    def lost(self) -> None:
        """Take in that the connection is gone, and with it all locks."""
        with self._lock:
            self._held = frozenset()
            self._agreed.clear()
