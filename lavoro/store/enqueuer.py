"""Inserts calls: concurrent callers share one statement and one commit; a call whose answer was lost is repeated."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence

import psycopg

from lavoro.exceptions import LavoroError, OperationalError, SchemaOutdated
from lavoro.protocol.message import Message
from lavoro.runtime.forking import in_each_fork
from lavoro.store import tasks
from lavoro.store.database import Database
from lavoro.store.errors import LOST
from lavoro.store.repeats import AbandonedSessions
from lavoro.store.tx import Tx
from lavoro.store.uniques import Holders, are_unique, insert_any

AWAKE = 0.01
"""Seconds for which a check that found no sleeping worker holds. A worker that falls asleep meanwhile still polls after
5, 25 and 125 ms.

Calls that follow each other closely take 20 us less."""


class _Pending:
    """A message that waits for its insert, the outcome of that, and the queue that wakes its caller."""

    __slots__ = ("done", "error", "message", "repeated", "wakeup")

    def __init__(self, message: Message, repeated: bool) -> None:
        self.message = message
        self.repeated = repeated
        self.done = False
        self.error: Exception | None = None
        self.wakeup: queue.SimpleQueue[None] = queue.SimpleQueue()


class Enqueuer:
    """Group commit for one database: one of the concurrent callers inserts the messages of all.

    Each returns when its own task is durable. A single caller pays only for its turn. Many callers share the cost
    of a commit: 32 threads store several times as many tasks a second as with a commit each. All callers of a batch get
    an error of this package. Any other exception, a time limit or Ctrl-C, is raised only in its own caller, and the
    others continue without that one.

    A thread or greenlet may be interrupted anywhere here. If it then sends another task, from a signal handler or a
    finalizer, that call takes a connection of its own, because its turn might never come. A caller that ends by an
    exception, even between two instructions, gives its turn up.
    """

    def __init__(self, database: Database, *, most: int = 1000) -> None:
        self._database = database
        self._most = most
        self._abandoned = AbandonedSessions()
        self._awake_until: dict[str, float] = {}
        """Until when, by queue, a single call need not check again whether a worker sleeps."""
        self._forget_others()
        in_each_fork(self._forget_others)

    def _forget_others(self) -> None:
        self._turn: dict[str, int] = {}
        """The thread whose turn it is to insert. Not a lock: after an interrupted ``acquire`` its owner is unknown."""
        self._inside: set[int] = set()
        """The threads and greenlets that are inserting."""
        self._pending: deque[_Pending] = deque()

    def insert(self, messages: Sequence[Message], *, repeated: bool = False) -> Holders | None:
        """Store messages, which may have been stored before if they are ``repeated``; raises this package's errors.

        Return the holders of unique keys, as ``uniques.insert_any``.
        """
        me, pending, tx = threading.get_ident(), None, None
        if me in self._inside:
            return self._insert_apart(messages, repeated)
        try:
            try:
                self._inside.add(me)
                if len(messages) != 1 or (messages[0].place is not None and are_unique(messages)):
                    return self._insert_many(messages, repeated)
                if repeated or self._pending or self._turn.setdefault(_TURN, me) != me:
                    pending = _Pending(messages[0], repeated)
                    self._pending.append(pending)
                    self._wait(pending, me)
                else:  # a call on its own, written out: each further function costs all calls 0.1 us
                    with self._database.pinned() as tx:
                        queue, now = messages[0].queue, time.monotonic()  # now: a connection may have taken long
                        if tasks.insert(tx, messages, look=now >= self._awake_until.get(queue, 0.0)):
                            self._awake_until[queue] = now + AWAKE
            finally:
                self._leave(me, pending)
        except BaseException as error:
            if tx is not None and not isinstance(error, LavoroError):
                self._abandoned.add_interrupted(tx)  # other callers will repeat their messages
            self._leave(me, pending)  # again: it may have been interrupted
            self._wake_next()
            raise
        if pending is not None and pending.error is not None:
            raise pending.error
        return None

    def insert_again(
        self, messages: Sequence[Message], error: OperationalError, pauses: Iterable[float]
    ) -> Holders | None:
        """Repeat a failed call after each of the pauses until it succeeds; else raise the last error.

        Missing tables stay missing, so such a call is not repeated.

        The session of the try before is ended first. Idle connections are closed: after a restart of the server each
        one would fail, one a try.
        """
        for pause in () if isinstance(error, SchemaOutdated) else pauses:
            self._abandoned.add(error.abandoned)
            self._database.dispose()
            time.sleep(pause)
            try:
                return self.insert(messages, repeated=True)
            except OperationalError as again:
                error = again
        raise error

    # Taking turns

    def _wait(self, pending: _Pending, me: int) -> None:
        while not pending.done:
            if self._turn.setdefault(_TURN, me) == me:
                self._insert_pending()
            else:
                pending.wakeup.get()  # until it is done, or it is its turn to insert

    def _leave(self, me: int, pending: _Pending | None) -> None:
        """Undo all steps of a call; a second one changes nothing."""
        inserted = self._turn.get(_TURN) == me
        if inserted:
            del self._turn[_TURN]
        if unfinished := pending is not None and not pending.done:
            with contextlib.suppress(ValueError):
                self._pending.remove(pending)
        self._inside.discard(me)
        if (inserted or unfinished) and self._pending:
            # Last: a caller that adds a message from now on can take the turn itself.
            self._wake_next()

    def _wake_next(self) -> None:
        """Remove messages that are done, and wake the first caller that waits."""
        waiting = self._pending
        with contextlib.suppress(IndexError, ValueError):
            while True:
                first = waiting[0]
                first.wakeup.put(None)
                if not first.done:
                    return
                waiting.remove(first)  # last: an interruption before it leaves the message for the next caller

    # Inserting

    def _insert_pending(self) -> None:
        """Insert the messages of all callers. They stay until they are done, so that no interruption loses one."""
        batch = self._first_pending()
        repeated = any(pending.repeated for pending in batch)
        for pending in batch:
            pending.repeated = True  # after an interruption the next caller cannot know whether it is stored
        error = self._try(batch, repeated)
        # If the database refused one of several, only that one must fail. If it did not answer, all did.
        refused = error is not None and len(batch) > 1 and not isinstance(error.__cause__, LOST)
        for pending in batch:
            pending.error = self._try([pending], repeated) if refused else error
            pending.done = True  # the caller wakes the others when it ends

    def _first_pending(self) -> list[_Pending]:
        while True:
            with contextlib.suppress(RuntimeError):  # another caller appended meanwhile
                return [pending for pending in list(self._pending) if not pending.done][: self._most]

    def _try(self, batch: Sequence[_Pending], repeated: bool) -> Exception | None:
        messages = [pending.message for pending in batch]
        try:
            with self._database.pinned() as tx:
                try:
                    self._insert(tx, messages, repeated)
                except BaseException as error:
                    if not isinstance(error, psycopg.Error):
                        self._abandoned.add_interrupted(tx)
                    raise
        except LavoroError as error:
            return error
        return None

    def _insert_many(self, messages: Sequence[Message], repeated: bool) -> Holders | None:
        with self._database.tx() as tx:
            return self._insert(tx, messages, repeated, assigned=False)

    def _insert_apart(self, messages: Sequence[Message], repeated: bool) -> Holders | None:
        with self._database.apart() as tx:
            return self._insert(tx, messages, repeated)

    def _insert(self, tx: Tx, messages: Sequence[Message], repeated: bool, *, assigned: bool = True) -> Holders | None:
        if repeated:
            self._abandoned.end(tx)
        return insert_any(tx, messages, repeated=repeated, assigned=assigned)


_TURN = "turn"
