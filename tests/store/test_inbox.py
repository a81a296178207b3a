"""A caller that waits alone reads the notifications itself; several callers are told by the listener's loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Job
from lavoro.store import tasks
from lavoro.store.database import Database
from lavoro.store.listener import Listener
from lavoro.store.result_listener import ResultListener, Subscription
from lavoro.store.results import fetch_outcome
from lavoro.store.tx import Tx
from tests.store.walk import rows, sent_and_taken, succeeded

KILL = (
    "select pg_terminate_backend(pid) from pg_stat_activity"
    " where application_name = 'lavoro-listener' and datname = current_database()"
)


class Readers:
    """The threads in which notifications were passed on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[threading.Thread] = []
        heard = ResultListener._heard

        def noted(listener: ResultListener, payload: str | None) -> None:
            if payload is not None:
                self.seen.append(threading.current_thread())
            heard(listener, payload)

        monkeypatch.setattr(ResultListener, "_heard", noted)


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> Readers:
    return Readers(monkeypatch)


@pytest.fixture
def results(readers: Readers, database: Database) -> Iterator[ResultListener]:
    results = ResultListener(database)
    yield results
    results.close()


def settled(results: ResultListener, eventually: Callable[..., Any], *, away: bool) -> None:
    """Return once the loop reads, or leaves the reading to a caller."""
    eventually(lambda: _loop(results)._inbox._lent.is_set() is away, why="the loop leaves the reading, or takes it")


def _loop(results: ResultListener) -> Listener:
    assert results._listener is not None
    return results._listener


def waits(results: ResultListener, subscription: Subscription) -> threading.Thread:
    """Start a thread that waits for the task of a subscription."""

    def wait() -> None:
        while not subscription.wait(60) or subscription.take() is None:
            pass
        results.unsubscribe(subscription)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_caller_that_waits_alone_reads(
    results: ResultListener, readers: Readers, tx: Tx, eventually: Callable[..., Any]
) -> None:
    for _ in range(3):
        job = sent_and_taken(tx)
        thread = waits(results, results.subscribe(job.id, timeout=60))
        settled(results, eventually, away=True)
        tasks.finish(tx, 1, [succeeded(job)])
        thread.join(60)
        assert readers.seen == [thread]
        readers.seen.clear()


def test_a_caller_that_waits_at_once_reads_too(
    results: ResultListener, readers: Readers, tx: Tx, eventually: Callable[..., Any]
) -> None:
    """It waits until the loop leaves the reading. Else none would read for a quarter of a second."""
    results.unsubscribe(results.subscribe(uuid7(), timeout=60))
    for _ in range(3):
        settled(results, eventually, away=False)
        job = sent_and_taken(tx)
        sender = threading.Timer(0.05, tasks.finish, (tx, 1, [succeeded(job)]))
        sender.start()
        subscription = results.subscribe(job.id, timeout=60)
        assert subscription.wait(60)
        assert readers.seen == [threading.current_thread()]
        readers.seen.clear()
        sender.join()
        results.unsubscribe(subscription)


def test_the_loop_reads_for_several(
    results: ResultListener, readers: Readers, tx: Tx, eventually: Callable[..., Any]
) -> None:
    jobs = [sent_and_taken(tx) for _ in range(2)]
    first = waits(results, results.subscribe(jobs[0].id, timeout=60))
    settled(results, eventually, away=True)
    second = waits(results, results.subscribe(jobs[1].id, timeout=60))
    settled(results, eventually, away=False)
    for job, thread in zip(jobs, (first, second), strict=True):
        tasks.finish(tx, 1, [succeeded(job)])
        thread.join(60)
        assert not thread.is_alive()
    assert first not in readers.seen[1:]
    assert second not in readers.seen


def test_the_loop_reads_when_the_caller_does_something_else(
    results: ResultListener, readers: Readers, tx: Tx, eventually: Callable[..., Any]
) -> None:
    """A socket that nobody reads would keep the notifications of all sessions in the server's queue."""
    job = sent_and_taken(tx)
    subscription = results.subscribe(job.id, timeout=60)
    settled(results, eventually, away=True)
    tasks.finish(tx, 1, [succeeded(job)])
    eventually(lambda: readers.seen, why="the loop reads")
    assert readers.seen[0] is not threading.current_thread()
    assert subscription.wait(0)


def test_a_connection_that_is_lost_is_opened_again(
    results: ResultListener, tx: Tx, eventually: Callable[..., Any]
) -> None:
    subscription = results.subscribe(uuid7(), timeout=60)
    subscription.take()
    settled(results, eventually, away=True)
    killer = threading.Timer(0, rows, (tx, KILL))
    killer.start()
    assert subscription.wait(60)  # told by the loop: any task may have ended
    assert subscription.take() is None
    killer.join()
    job = sent_and_taken(tx)
    again = results.subscribe(job.id, timeout=60)
    tasks.finish(tx, 1, [succeeded(job)])
    assert again.wait(60)


@pytest.fixture
def reader(results: ResultListener, tx: Tx, eventually: Callable[..., Any]) -> Iterator[tuple[Subscription, Job]]:
    """A caller that reads the connection, and its task."""
    job = sent_and_taken(tx)
    results.unsubscribe(results.subscribe(uuid7(), timeout=60))
    subscription = results.subscribe(job.id, timeout=60)
    settled(results, eventually, away=True)
    subscription.take()
    yield subscription, job
    results.unsubscribe(subscription)


def connection_of(results: ResultListener) -> object:
    tx = _loop(results)._session.tx
    return tx and tx.connection


def test_a_caller_that_reads_asks_on_the_same_connection(
    results: ResultListener, reader: tuple[Subscription, Job]
) -> None:
    subscription, _ = reader
    assert subscription.ask(lambda tx: tx.connection) is connection_of(results)
    assert subscription.ask(lambda tx: subscription.ask(lambda other: other is not tx))  # as in a signal handler
    other = results.subscribe(uuid7(), timeout=60)
    assert subscription.ask(lambda tx: tx.connection) is not connection_of(results)
    results.unsubscribe(other)


def test_a_notification_that_comes_with_the_answer_is_heard(reader: tuple[Subscription, Job], tx: Tx) -> None:
    subscription, job = reader

    def ask(own: Tx) -> object:
        tasks.finish(tx, 1, [succeeded(job)])
        return own.connection.execute("select 1").fetchall()

    subscription.ask(ask)
    assert subscription.wait(30)  # although nothing more comes over the wire
    assert subscription.take() == {job.id}


def test_the_loop_tells_of_one_that_came_with_the_answer(
    results: ResultListener, readers: Readers, reader: tuple[Subscription, Job], tx: Tx,
    eventually: Callable[..., Any],
) -> None:  # fmt: skip
    subscription, job = reader
    subscription.ask(lambda own: (tasks.finish(tx, 1, [succeeded(job)]), own.connection.execute("select 1")))
    eventually(lambda: readers.seen, why="the loop tells of it")
    assert subscription.wait(0)
    assert readers.seen[0] is not threading.current_thread()


def test_a_question_that_is_interrupted_leaves_no_answer_behind(
    results: ResultListener, reader: tuple[Subscription, Job], eventually: Callable[..., Any]
) -> None:
    subscription, _ = reader
    before = connection_of(results)

    def ask(own: Tx) -> None:
        own.connection.pgconn.send_query(b"select 'mine'")
        raise TimeoutError("too late")

    with pytest.raises(TimeoutError):
        subscription.ask(ask)
    assert subscription.ask(lambda tx: tx.connection.execute("select 'other'").fetchall()) == [("other",)]
    eventually(lambda: connection_of(results) not in (None, before), why="the loop connects again")
    assert subscription.wait(60)
    assert subscription.take() is None  # something may have been missed


def test_a_question_on_a_lost_connection_is_put_on_another(
    results: ResultListener, reader: tuple[Subscription, Job], tx: Tx
) -> None:
    subscription, job = reader
    rows(tx, KILL)
    assert subscription.ask(lambda own: state_of(own, job)) is None
    tasks.finish(tx, 1, [succeeded(job)])
    assert subscription.ask(lambda own: state_of(own, job)) == "SUCCESS"


def state_of(tx: Tx, job: Job) -> str | None:
    ended = fetch_outcome(tx, job.id)
    return ended and ended.state
