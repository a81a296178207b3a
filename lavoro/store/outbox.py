"""Sharing commits: callers that send at the same moment have their tasks stored by one of them, in one statement."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from lavoro.message import Message


class _Letter:
    """A message on its way, and what became of it."""

    __slots__ = ("delivered", "error", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.delivered = False
        self.error: BaseException | None = None


class Outbox:
    """Whoever gets the lock stores what all others have put in meanwhile; each returns when its own task is durable.

    A single caller pays for a lock nobody else wants. With many the cost of a commit is shared: 32 threads store
    twice to three times as many tasks a second as with a commit each (``python -m benchmarks enqueue``).
    """

    def __init__(self, store: Callable[[Sequence[Message]], None], *, most: int = 1000) -> None:
        self._store = store
        self._most = most
        self._lock = threading.Lock()
        self._letters: list[_Letter] = []

    def send(self, message: Message) -> None:
        """Store a message; raises what storing raises."""
        letter = _Letter(message)
        self._letters.append(letter)
        with self._lock:
            if not letter.delivered:
                self._deliver()
        if letter.error is not None:
            raise letter.error

    def _deliver(self) -> None:
        batch, self._letters = self._letters[: self._most], self._letters[self._most :]
        error = self._try(batch)
        for letter in batch:
            if error is not None and len(batch) > 1:
                letter.error = self._try([letter])  # one of them was refused: which one, and only that, must fail
            else:
                letter.error = error
            letter.delivered = True

    def _try(self, batch: Sequence[_Letter]) -> BaseException | None:
        try:
            self._store([letter.message for letter in batch])
        except BaseException as error:
            return error
        return None
