"""Sharing commits: callers that send at the same moment have their tasks stored by one of them, in one statement."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import time
from collections import deque
from collections.abc import Sequence

import psycopg

from lavoro.exceptions import LavoroError, OperationalError
from lavoro.protocol.message import Message
from lavoro.runtime.forking import in_each_fork
from lavoro.store import tasks
from lavoro.store.database import LOST, Database, Tx
from lavoro.store.repeats import AbandonedSessions

AWAKE = 0.01
"""Seconds for which a look that found no sleeping worker holds. A worker that falls asleep meanwhile still polls after
5, 25 and 125 ms.

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
    """Group commit for one database: one of the concurrent callers stores the messages of all.

    Each returns when its own task is durable. A single caller pays for a turn that no other wants. With many the cost
    of a commit is shared: 32 threads store several times as many tasks a second as with a commit each. All callers of
    a batch get an error of this package. Any other exception, a time limit or Ctrl-C, was meant for the caller that it
    hit, and the others go on without it.

    A thread or greenlet may be interrupted anywhere here. If it then sends another task, from a signal handler or a
    finalizer, that call takes a connection of its own, because its turn might never come. A caller that leaves by an
    exception, even between two instructions, gives its turn up.
    """

    def __init__(self, database: Database, *, most: int = 1000) -> None:
        self._database = database
        self._most = most
        self._abandoned = AbandonedSessions()
        self._nobody_sleeps: dict[str, float] = {}
        """Until when, by queue, a single call need not look again whether a worker sleeps."""
        self._forget_others()
        in_each_fork(self._forget_others)

    def _forget_others(self) -> None:
        self._storing: dict[str, int] = {}
        """The thread whose turn it is to store. Not a lock: after an interrupted ``acquire`` its owner is unknown."""
        self._inside: set[int] = set()
        """The threads and greenlets that are sending."""
        self._letters: deque[_Letter] = deque()

    def send(self, messages: Sequence[Message], *, repeated: bool = False) -> None:
        """Store messages, which may have been stored before if they are ``repeated``; raises this package's errors."""
        me, letter = threading.get_ident(), None
        if me in self._inside:
            return self._store_apart(messages, repeated)
        try:
            try:
                self._inside.add(me)
                if len(messages) != 1:
                    self._store_many(messages, repeated)
                elif not self._letters and self._take_turn(me):
                    self._store(messages, repeated)
                else:
                    letter = _Letter(messages[0], repeated)
                    self._letters.append(letter)
                    self._wait(letter, me)
            finally:
                self._leave(me, letter)
        except BaseException:
            self._leave(me, letter)  # again, for it may have been interrupted
            self._wake_next()
            raise
        if letter is not None and letter.error is not None:
            raise letter.error
        return None

    def give_up(self, error: OperationalError) -> None:
        """Prepare to repeat a call that got no answer: its session will be ended first.

        Idle connections are closed: after a restart of the server each one would fail, one a try.
        """
        self._abandoned.add(error.abandoned)
        self._database.dispose()

    # Taking turns

    def _take_turn(self, me: int) -> bool:
        return self._storing.setdefault(_TURN, me) == me

    def _wait(self, letter: _Letter, me: int) -> None:
        while not letter.delivered:
            if self._take_turn(me):
                self._deliver()
            else:
                letter.gate.get()  # until it is delivered, or it is its turn to store

    def _leave(self, me: int, letter: _Letter | None) -> None:
        """Undo all steps of sending; a second call changes nothing."""
        stored = self._storing.get(_TURN) == me
        if stored:
            del self._storing[_TURN]
        if undelivered := letter is not None and not letter.delivered:
            with contextlib.suppress(ValueError):
                self._letters.remove(letter)
        self._inside.discard(me)
        if self._letters and (stored or undelivered):
            # Last: a caller that adds a letter from now on can take the turn itself.
            self._wake_next()

    def _wake_next(self) -> None:
        """Remove delivered letters, and wake the first caller that waits."""
        with contextlib.suppress(IndexError, ValueError):
            while True:
                first = self._letters[0]
                first.gate.put(None)  # even a delivered one: the storing caller may have been interrupted before this
                if not first.delivered:
                    return
                self._letters.remove(first)

    # Storing

    def _deliver(self) -> None:
        """Store the letters of all callers. They stay until they are delivered, so that no interruption loses one."""
        batch = self._first_letters()
        repeated = any(letter.repeated for letter in batch)
        for letter in batch:
            letter.repeated = True  # after an interruption the next caller cannot know whether it is stored
        error = self._try(batch, repeated)
        # If the database refused one of several, only that one must fail. If it did not answer, all did.
        refused = error is not None and len(batch) > 1 and not isinstance(error.__cause__, LOST)
        for letter in batch:
            letter.error = self._try([letter], repeated) if refused else error
            letter.delivered = True
            letter.gate.put(None)

    def _first_letters(self) -> list[_Letter]:
        batch = list[_Letter]()
        with contextlib.suppress(IndexError):  # by number: an iterator fails when others append
            for number in itertools.count():
                letter = self._letters[number]
                if len(batch) == self._most:
                    break
                if not letter.delivered:
                    batch.append(letter)
        return batch

    def _try(self, batch: Sequence[_Letter], repeated: bool) -> Exception | None:
        try:
            self._store([letter.message for letter in batch], repeated)
        except LavoroError as error:
            return error
        return None

    def _store(self, messages: Sequence[Message], repeated: bool) -> None:
        with self._database.kept() as tx:  # one is let in at a time
            queue, now = messages[0].queue, time.monotonic()  # now: to borrow a connection may take long
            look = now >= self._nobody_sleeps.get(queue, 0.0)
            try:
                if self._insert(tx, messages, repeated, look=look):
                    self._nobody_sleeps[queue] = now + AWAKE
            except BaseException as error:
                if not isinstance(error, psycopg.Error):  # interrupted: other callers will repeat their messages
                    self._abandoned.add_interrupted(tx)
                raise

    def _store_many(self, messages: Sequence[Message], repeated: bool) -> None:
        with self._database.tx() as tx:
            self._insert(tx, messages, repeated, handed=False)

    def _store_apart(self, messages: Sequence[Message], repeated: bool) -> None:
        with self._database.apart() as tx:
            self._insert(tx, messages, repeated)

    def _insert(
        self, tx: Tx, messages: Sequence[Message], repeated: bool, *, handed: bool = True, look: bool = True
    ) -> bool:
        if repeated:
            self._abandoned.end(tx)
        return tasks.insert(tx, messages, repeated=repeated, handed=handed, look=look)


_TURN = "turn"
