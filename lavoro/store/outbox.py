"""Sharing commits: callers that send at the same moment have their tasks stored by one of them, in one statement."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence

from lavoro.errors import LavoroError, OperationalError
from lavoro.message import Message
from lavoro.store import tasks
from lavoro.store.database import LOST, Database, Tx
from lavoro.store.repeats import GivenUp

AWAKE = 0.01
"""Seconds for which nobody sleeps, once that was seen: who falls asleep meanwhile looks again after 5, 25 and 125 ms.

Calls that follow each other closely take 20 us less."""


class _Letter:
    """A message on its way, what became of it, and the gate where its sender waits."""

    __slots__ = ("delivered", "error", "gate", "message", "repeated")

    def __init__(self, message: Message, repeated: bool) -> None:
        self.message = message
        self.repeated = repeated
        self.delivered = False
        self.error: Exception | None = None
        self.gate: queue.SimpleQueue[None] = queue.SimpleQueue()


class Outbox:
    """One of those who send to a database at the same moment stores what all have put in.

    Each returns when its own task is durable. A single caller pays for a lock nobody else wants. With many the cost of
    a commit is shared: 32 threads store several times as many tasks a second as with a commit each. An error of this
    package is told to all whose tasks were to be stored; anything else, a time limit or Ctrl-C, was meant for the
    caller it hit, and the others go on without it.
    """

    def __init__(self, database: Database, *, most: int = 1000) -> None:
        self._database = database
        self._most = most
        self._given_up = GivenUp()
        self._nobody_sleeps: dict[str, float] = {}
        """Until when, by queue, a single call need not look again whether a worker sleeps."""
        self._forget_others()
        if hasattr(os, "register_at_fork"):
            forget = weakref.WeakMethod(self._forget_others)
            os.register_at_fork(after_in_child=lambda: _call_if_alive(forget))

    def _forget_others(self) -> None:
        self._storing = threading.Lock()
        self._letters: deque[_Letter] = deque()

    def send(self, messages: Sequence[Message], *, repeated: bool = False) -> None:
        """Store messages, which may have been stored before if they are ``repeated``; raises this package's errors."""
        if len(messages) == 1:
            self._send(messages[0], repeated)
        else:
            with self._database.tx() as tx:
                self._insert(tx, messages, repeated)

    def give_up(self, error: OperationalError) -> None:
        """Get ready to make a call again that got no answer.

        Its session will be ended first. New connections are made: after a restart of the server each idle one would
        fail, one a try.
        """
        self._given_up.add(error.abandoned)
        self._database.dispose()

    def _store(self, messages: Sequence[Message], repeated: bool) -> None:
        with self._database.kept() as tx:  # one is let in at a time
            queue, now = messages[0].queue, time.monotonic()  # now: to borrow a connection may take long
            look = now >= self._nobody_sleeps.get(queue, 0.0)
            if self._insert(tx, messages, repeated, look=look):
                self._nobody_sleeps[queue] = now + AWAKE

    def _insert(self, tx: Tx, messages: Sequence[Message], repeated: bool, *, look: bool = True) -> bool:
        if repeated:
            self._given_up.end(tx)
        return tasks.insert(tx, messages, repeated=repeated, look=look)

    def _send(self, message: Message, repeated: bool) -> None:
        if self._letters or not self._storing.acquire(blocking=False):
            return self._post(message, repeated)
        try:
            self._store([message], repeated)
        finally:
            self._leave()

    def _post(self, message: Message, repeated: bool) -> None:
        letter = _Letter(message, repeated)
        self._letters.append(letter)
        try:
            while not letter.delivered:
                self._store_or_wait(letter)
        except BaseException:
            with contextlib.suppress(ValueError):
                self._letters.remove(letter)  # the caller is told that it was not stored
            self._wake_next()  # it may have been this one's turn
            raise
        if letter.error is not None:
            raise letter.error

    def _store_or_wait(self, letter: _Letter) -> None:
        if not self._storing.acquire(blocking=False):
            letter.gate.get()  # until it is delivered, or it is its turn to store
            return
        try:
            self._deliver()
        finally:
            self._leave()

    def _leave(self) -> None:
        self._storing.release()
        # After the release: who puts a letter in from now on finds nobody storing, and stores.
        self._wake_next()

    def _wake_next(self) -> None:
        if self._letters:
            with contextlib.suppress(IndexError):
                self._letters[0].gate.put(None)

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
        # If the database refused one of several, only that one must fail. If it did not answer, all did.
        refused = error is not None and len(batch) > 1 and not isinstance(error.__cause__, LOST)
        for letter in batch:
            letter.error = self._try([letter]) if refused else error
            letter.delivered = True
            letter.gate.put(None)

    def _try(self, batch: Sequence[_Letter]) -> Exception | None:
        try:
            self._store([letter.message for letter in batch], any(letter.repeated for letter in batch))
        except LavoroError as error:
            return error
        return None


def _call_if_alive(call: weakref.WeakMethod[Callable[[], None]]) -> None:
    if method := call():
        method()
