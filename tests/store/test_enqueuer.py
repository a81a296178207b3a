"""Sharing commits: nothing is lost, nothing is stored for a caller who is told otherwise."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

import pytest

from lavoro.exceptions import OperationalError
from lavoro.protocol.message import Message
from lavoro.store.database import Database
from lavoro.store.enqueuer import Enqueuer
from lavoro.store.tx import Tx
from tests.store.walk import message, rows, value


class Interrupted(BaseException):
    """What is raised in a thread from outside."""


def in_threads(count: int, work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)


class Staged(Enqueuer):
    """An enqueuer that does something else, with the messages of the inserting caller, before it takes a connection."""

    def __init__(self, database: Database, before: Callable[[Sequence[Message]], None]) -> None:
        super().__init__(database)
        self._calls, self._before = threading.local(), before

        def staged() -> contextlib.AbstractContextManager[Tx]:
            self._before(self._calls.messages)
            return Database.pinned(database)

        database.pinned = staged  # type: ignore[method-assign]

    @property
    def waiting(self) -> int:
        """The calls that wait for the one that inserts."""
        return len(self._pending)

    @property
    def at_rest(self) -> bool:
        """Whether no call is in it, and none has left anything."""
        return not (self._turn or self._inside or self._pending)

    def insert(self, messages: Sequence[Message], *, repeated: bool = False) -> None:
        self._calls.messages = messages
        super().insert(messages, repeated=repeated)


def test_one_caller(database: Database, tx: Tx) -> None:
    sent = message()
    Enqueuer(database).insert([sent])
    assert rows(tx, "select id from lavoro.waiting") == [(sent.id,)]


def test_many_callers_lose_nothing(database: Database, tx: Tx) -> None:
    enqueuer, start = Enqueuer(database, most=7), threading.Barrier(20)

    def work() -> None:
        start.wait(30)
        for _ in range(50):
            sent = message()
            enqueuer.insert([sent])
            with database.tx() as own:
                assert rows(own, "select 1 from lavoro.waiting where id = %s", sent.id)

    in_threads(20, work)
    assert value(tx, "select count(*) from lavoro.waiting") == 1000


def test_only_the_refused_one_fails(database: Database, tx: Tx) -> None:
    gate, first, outcomes = threading.Event(), threading.Event(), list[str]()

    def before(messages: Sequence[Message]) -> None:
        first.set()
        assert gate.wait(60)

    enqueuer = Staged(database, before)

    def send(sent: Message) -> None:
        try:
            enqueuer.insert([sent])
            outcomes.append("stored")
        except OperationalError:
            outcomes.append("refused")

    senders = [threading.Thread(target=send, args=(message(),))]
    senders[0].start()
    assert first.wait(60)
    senders += [threading.Thread(target=send, args=(message(queue="" if bad else "q"),)) for bad in (0, 1, 0)]
    for sender in senders[1:]:
        sender.start()
    gate.set()
    for sender in senders:
        sender.join(60)
    assert sorted(outcomes) == ["refused", "stored", "stored", "stored"]
    assert value(tx, "select count(*) from lavoro.waiting") == 3


def test_an_interruption_is_for_the_one_it_hit(database: Database, tx: Tx, eventually: Callable[..., object]) -> None:
    gate, first = threading.Event(), threading.Event()

    def before(messages: Sequence[Message]) -> None:
        if not first.is_set():
            first.set()
            assert gate.wait(60)
            raise Interrupted

    enqueuer, interrupted, sent = Staged(database, before), list[BaseException](), message()

    def leader() -> None:
        try:
            enqueuer.insert([message()])
        except Interrupted as error:
            interrupted.append(error)

    leading, following = threading.Thread(target=leader), threading.Thread(target=enqueuer.insert, args=([sent],))
    leading.start()
    assert first.wait(60)
    following.start()
    eventually(lambda: enqueuer.waiting == 1, why="the other caller waits for its turn")
    gate.set()
    leading.join(60)
    following.join(60)
    assert len(interrupted) == 1
    assert rows(tx, "select 1 from lavoro.waiting where id = %s", sent.id)


def test_an_error_is_told_to_every_caller(database: Database) -> None:
    def before(messages: Sequence[Message]) -> None:
        raise OperationalError("away")

    with pytest.raises(OperationalError, match="away"):
        Staged(database, before).insert([message()])


def test_many_that_are_stored_again_take_no_lock_each(empty_url: str, tx: Tx) -> None:
    """Only a call of one may have assigned its task. The locks of some 10,000 would fill the server's table."""
    sent = [message() for _ in range(3)]
    lock = "select pg_advisory_lock(hashtextextended('lavoro_call:' || %s::text, 0))"
    tx.connection.execute(lock, (str(sent[1].id),))
    database = Database(empty_url)
    database.patience = 2  # of its connections from now on
    enqueuer = Enqueuer(database)
    for _ in range(2):
        enqueuer.insert(sent, repeated=True)
    assert value(tx, "select count(*) from lavoro.waiting") == 3
    with pytest.raises(OperationalError, match="no answer"):
        enqueuer.insert([sent[1]], repeated=True)
    database.dispose()
