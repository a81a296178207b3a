"""Sharing commits: callers that send at the same moment have their tasks stored by one of them, in one statement."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence

from lavoro.errors import LavoroError
from lavoro.message import Message


class _Letter:
    """A message on its way, and what became of it."""

    __slots__ = ("delivered", "error", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.delivered = False
        self.error: Exception | None = None


class Outbox:
    """Whoever gets the lock stores what all others have put in meanwhile; each returns when its own task is durable.

    A single caller pays for a lock nobody else wants. With many the cost of a commit is shared: 32 threads store
    twice to three times as many tasks a second as with a commit each. ``store`` raises this package's errors; anything
    else that flies out of it, a time limit or Ctrl-C, was meant for the caller it hit, and the others go on without it.
    """

    def __init__(self, store: Callable[[Sequence[Message]], None], *, most: int = 1000) -> None:
        self._store = store
        self._most = most
        self._forget_others()
        if hasattr(os, "register_at_fork"):
            forget = weakref.WeakMethod(self._forget_others)
            os.register_at_fork(after_in_child=lambda: _call_if_alive(forget))

    def _forget_others(self) -> None:
        self._lock = threading.Lock()
        self._letters: deque[_Letter] = deque()

    def send(self, message: Message) -> None:
        """Store a message; raises what storing raises."""
        letter = _Letter(message)
        self._letters.append(letter)
        with self._lock:
            try:
                while not letter.delivered:
                    self._deliver()
            except BaseException:
                with contextlib.suppress(ValueError):
                    self._letters.remove(letter)  # the caller is told that it was not stored
                raise
        if letter.error is not None:
            raise letter.error

    def _deliver(self) -> None:
        # One by one: append and popleft are atomic, taking a slice of what others append to is not.
        batch = [self._letters.popleft() for _ in range(min(len(self._letters), self._most))]
        try:
            self._store_all(batch)
        except BaseException:
            self._letters.extendleft(letter for letter in reversed(batch) if not letter.delivered)
            raise

    def _store_all(self, batch: Sequence[_Letter]) -> None:
        error = self._try(batch)
        for letter in batch:
            # With several, one was refused: which one it was, and only that one, must fail.
            letter.error = self._try([letter]) if error is not None and len(batch) > 1 else error
            letter.delivered = True

    def _try(self, batch: Sequence[_Letter]) -> Exception | None:
        try:
            self._store([letter.message for letter in batch])
        except LavoroError as error:
            return error
        return None


def _call_if_alive(call: weakref.WeakMethod[Callable[[], None]]) -> None:
    if method := call():
        method()
