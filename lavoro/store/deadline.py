"""A connection with a deadline for each answer: a socket may be open at one end and dead at the other."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Generator
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg.rows import TupleRow

from lavoro.runtime.forking import detach, in_each_fork
from lavoro.runtime.native import hub

T = TypeVar("T")

ANSWER = 30.0
"""Seconds that calls, claims and finishes wait for an answer: far longer than they take."""


class Backend(NamedTuple):
    """A session of our own, as the server knows it. Behind a pooler its process id is unknown."""

    application: str
    patience: float
    """Seconds after which its client abandons a statement."""
    pid: int | None = None
    start: str | None = None
    """When the server began it: a later session may get the same number."""


def backend_of(connection: object) -> Backend | None:
    """Return the session of a connection of our own; None for a caller's."""
    return getattr(connection, "backend", None)


class PatientConnection(psycopg.Connection[TupleRow]):
    """A connection that gives up on an answer after ``patience`` seconds, with ``psycopg.OperationalError``.

    The server's own statement_timeout does not help where nothing arrives any more. Keepalives end only sockets whose
    other end is gone, not those that a proxy keeps open. Whether the statement was committed is unknown; the
    connection cannot be used any more.
    """

    patience = math.inf
    backend: Backend | None = None
    """The session to end before a statement that was abandoned here is repeated."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _open.add(self)

    def __del__(self, *_: Any) -> None:
        """Let go of the connection, which ends it, without psycopg's warning: an application need not be closed."""

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        """Wait for an answer, as psycopg does, but only until the deadline."""
        if hub is not None and not args and not kwargs:
            return _on_hub(gen, self.pgconn.socket, self.patience)
        if self.patience < math.inf:
            gen = _until(gen, self.patience)
        return super().wait(gen, *args, **kwargs)


_open: weakref.WeakSet[PatientConnection] = weakref.WeakSet()


def _abandon() -> None:
    """In a forked process, detach the parent's connections; a statement on one fails as if it were lost."""
    for connection in _open:
        if not connection.closed:
            detach(connection.fileno())
    _open.clear()


in_each_fork(_abandon)


def _until(gen: Generator[Any, Any, T], patience: float) -> Generator[Any, Any, T]:
    """Pass everything on to a generator of psycopg's, which is also woken when nothing came for a moment."""
    deadline = time.monotonic() + patience
    try:
        state = next(gen)
        while True:
            ready = yield state
            if not ready and time.monotonic() > deadline:
                raise _too_late(patience)
            state = gen.send(ready)
    except StopIteration as stop:
        value: T = stop.value
        return value


def _on_hub(gen: Generator[Any, Any, T], descriptor: int, patience: float) -> T:
    """Run a generator of psycopg's, which waits on gevent's hub: psycopg itself would wait by gevent's ``poll``."""
    deadline = time.monotonic() + patience
    try:
        state = next(gen)
        while True:
            try:
                found = hub.wait((descriptor,), state, deadline - time.monotonic())
            except (OSError, ValueError) as error:
                raise psycopg.OperationalError(f"the connection is closed: {error}") from error
            if found is None:
                raise _too_late(patience)
            state = gen.send(found[0])
    except StopIteration as stop:
        value: T = stop.value
        return value


def _too_late(patience: float) -> psycopg.OperationalError:
    return psycopg.OperationalError(f"no answer within {patience:g} s: the connection is given up")
