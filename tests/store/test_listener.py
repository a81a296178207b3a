"""Listening: words are heard, locks are held only while somebody waits, and a lost connection is a short silence."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lavoro.protocol.ids import uuid7
from lavoro.store import tasks
from lavoro.store.database import Database
from lavoro.store.listener import Listener
from lavoro.store.result_listener import ResultListener, Subscription
from lavoro.store.tx import Tx
from tests.postgres import Cluster
from tests.store.walk import rows, sent_and_taken, succeeded, value

PID = "select pid from pg_stat_activity where application_name = 'lavoro-listener' and datname = current_database()"
LOCKS = """
    select count(*) from pg_locks l join pg_stat_activity a using (pid)
    where l.locktype = 'advisory' and a.application_name = 'lavoro-listener' and a.datname = current_database()"""


class Ears:
    """A started listener and what it has heard."""

    def __init__(self, database: Database) -> None:
        self.heard: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.lost = threading.Event()
        self.listener = Listener(database, "wake", self.heard.put, lost=self.lost.set)

    def next(self) -> str | None:
        return self.heard.get(timeout=60)


@pytest.fixture
def ears(database: Database) -> Iterator[Ears]:
    ears = Ears(database)
    ears.listener.start()
    yield ears
    ears.listener.stop(60)
    assert not ears.listener.alive


def notify(tx: Tx, payload: str, *, channel: str = "lavoro_wake") -> None:
    rows(tx, "select pg_notify(%s, %s)", channel, payload)


def test_a_connection_means_that_something_may_have_been_missed(ears: Ears, tx: Tx) -> None:
    assert ears.next() is None
    notify(tx, "other", channel="lavoro_done")
    notify(tx, "due:0:celery")
    assert ears.next() == "due:0:celery"


def test_locks_are_held_only_while_wanted(ears: Ears, tx: Tx, eventually: Callable[..., Any]) -> None:
    assert ears.next() is None
    assert value(tx, LOCKS) == 0
    ears.listener.want(["queue:a", "queue:b"])
    assert ears.listener.wait_until_heard(60)
    assert value(tx, LOCKS) == 2
    ears.listener.want(["queue:b", "queue:c"])
    assert ears.listener.wait_until_heard(60)
    free = "select pg_try_advisory_xact_lock(hashtextextended(%s, 0))"
    assert [value(tx, free, f"lavoro_queue:{name}") for name in "abc"] == [True, False, False]
    ears.listener.want([])
    assert ears.listener.wait_until_heard(60)
    assert value(tx, LOCKS) == 0


def test_a_loss_is_told_and_then_the_connection_that_replaces_it(ears: Ears, tx: Tx) -> None:
    assert ears.next() is None
    rows(tx, f"select pg_terminate_backend(pid) from ({PID}) listener")
    assert ears.lost.wait(60)
    assert ears.next() is None


def test_calls_come_when_everything_wanted_is_held(ears: Ears, tx: Tx) -> None:
    for name in ("a", "b", "c"):
        held: queue.SimpleQueue[int] = queue.SimpleQueue()
        ears.listener.want([f"queue:{name}", "queue:x"])
        ears.listener.when_heard(lambda held=held: held.put(value(tx, LOCKS)))  # type: ignore[misc]
        assert held.get(timeout=60) == 2


def test_an_error_of_one_call_keeps_no_other_from_coming(database: Database) -> None:
    came = threading.Event()

    def broken() -> None:
        raise BrokenPipeError("the child is gone")

    listener = Listener(database, "wake", lambda payload: None)
    listener.when_heard(broken)
    listener.when_heard(came.set)
    listener.start()  # both come in the same step
    assert came.wait(60)
    listener.stop(60)


def test_what_is_notified_while_locks_are_exchanged_is_heard_at_once(ears: Ears, tx: Tx) -> None:
    """It is read by the statement that takes the lock: the socket would stay silent afterwards."""
    assert ears.next() is None
    with tx.connection.transaction():
        rows(tx, "select pg_advisory_xact_lock(hashtextextended('lavoro_queue:a', 0))")
        ears.listener.want(["queue:a"])
        notify(tx, "due:0:a")  # delivered with the commit, which also lets the listener have its lock
    assert ears.heard.get(timeout=8) == "due:0:a"  # less than the probe's interval


def test_a_silent_connection_is_probed_though_the_loop_is_woken(
    ears: Ears, tx: Tx, eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who rests and gets up all the time does not hear that the other end is gone."""
    monkeypatch.setattr("lavoro.store.inbox.PROBE", 0.3)
    assert ears.next() is None

    def probed() -> bool:
        ears.listener.wake()
        query = "select count(*) from pg_stat_activity where datname = current_database() and query = 'select 1'"
        return bool(value(tx, query))

    eventually(probed, why="it is asked whether it lives")


def test_who_is_told_to_look_is_told_when_the_locks_are_held(
    database: Database, tx: Tx, until_it_waits: Callable[..., None]
) -> None:
    """A task that is sent between the look and the lock would be announced by nobody."""
    heard: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    listener = Listener(database, "wake", heard.put)
    listener.want(["queue:a"])
    with tx.connection.transaction():
        rows(tx, "select pg_advisory_xact_lock(hashtextextended('lavoro_queue:a', 0))")
        listener.start()
        until_it_waits("lavoro-listener")
        assert heard.empty()
    assert heard.get(timeout=60) is None
    assert value(tx, LOCKS) == 1
    listener.stop(60)


def test_after_a_lost_connection_it_listens_again(ears: Ears, tx: Tx, eventually: Callable[..., Any]) -> None:
    assert ears.next() is None
    ears.listener.want(["queue:a"])
    for _ in range(3):
        assert ears.listener.wait_until_heard(60)
        [[pid]] = eventually(lambda: rows(tx, PID))
        value(tx, "select pg_terminate_backend(%s, 60000)", pid)
        assert ears.next() is None
    assert ears.listener.wait_until_heard(60)
    assert value(tx, LOCKS) == 1
    notify(tx, "again")
    assert ears.next() == "again"


def test_a_restart_of_the_server_is_a_short_silence(own_cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    database = Database(own_cluster.url())
    ears = Ears(database)
    ears.listener.start()
    ears.listener.want(["queue:a"])
    assert ears.next() is None
    own_cluster.stop()
    own_cluster.start()
    assert ears.next() is None
    assert ears.listener.wait_until_heard(60)
    ears.listener.stop(60)
    lost = [record for record in caplog.records if "the listening connection was lost" in record.message]
    assert len(lost) == 1
    assert lost[0].exc_info is None


def test_an_error_of_who_is_told_ends_nothing_and_loses_nothing(
    database: Database, tx: Tx, request: pytest.FixtureRequest
) -> None:
    told: queue.SimpleQueue[str] = queue.SimpleQueue()

    def heard(payload: str | None) -> None:
        if payload == "bad":
            raise BrokenPipeError("the child is gone")
        if payload:
            told.put(payload)

    listener = Listener(database, "wake", heard)
    listener.start()
    request.addfinalizer(lambda: listener.stop(60))
    listener.want(["queue:a"])
    assert listener.wait_until_heard(60)
    [[pid]] = rows(tx, PID)
    with tx.connection.transaction():  # they arrive together, with the commit
        notify(tx, "bad")
        notify(tx, "good")
    assert told.get(timeout=60) == "good"
    assert rows(tx, PID) == [(pid,)]


def test_nothing_stays_open(database: Database, tx: Tx, eventually: Callable[..., Any]) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        listener = Listener(database, "wake", lambda payload: None)
        listener.want(["queue:a"])
        listener.start()
        assert listener.wait_until_heard(60)
        listener.stop(60)
        listener.wake()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    eventually(lambda: not rows(tx, PID), why="the connections are closed")


def test_waking_never_blocks(database: Database) -> None:
    listener = Listener(Database("postgresql://127.0.0.1:1/x"), "wake", lambda payload: None)
    listener.start()
    for _ in range(100_000):
        listener.wake()
    listener.stop(60)
    assert not listener.alive


# Results


@pytest.fixture
def results(database: Database) -> Iterator[ResultListener]:
    results = ResultListener(database)
    yield results
    results.close()


def test_nobody_is_connected_until_somebody_waits(results: ResultListener, database: Database, tx: Tx) -> None:
    assert rows(tx, PID) == []
    results.unsubscribe(Subscription(database, [uuid7()]))
    assert rows(tx, PID) == []


def test_a_finish_wakes_who_waits_for_it(results: ResultListener, tx: Tx) -> None:
    mine, other = sent_and_taken(tx), sent_and_taken(tx)
    both = results.subscribe(mine.id, other.id, timeout=60)
    alone = results.subscribe(mine.id, timeout=60)
    unrelated = results.subscribe(other.id, timeout=60)
    for each in (both, alone, unrelated):
        each.take()  # the connection was new
    tasks.finish(tx, 1, [succeeded(mine)])
    assert both.wait(60)
    assert alone.wait(60)
    assert (both.take(), alone.take(), unrelated.take()) == ({mine.id}, {mine.id}, set())
    results.unsubscribe(alone)
    tasks.finish(tx, 1, [succeeded(other)])
    assert both.wait(60)
    assert unrelated.wait(60)
    assert (both.take(), unrelated.take(), both.take()) == ({other.id}, {other.id}, set())


def test_the_lock_is_dropped_at_the_first_word_nobody_needs(
    results: ResultListener, tx: Tx, eventually: Callable[..., Any]
) -> None:
    results.linger = 0.0
    job = sent_and_taken(tx)
    results.unsubscribe(results.subscribe(job.id, timeout=60))
    assert value(tx, LOCKS) == 1
    tasks.finish(tx, 1, [succeeded(job)])
    eventually(lambda: value(tx, LOCKS) == 0, why="the lock is dropped")
    again = sent_and_taken(tx)
    subscription = results.subscribe(again.id, timeout=60)
    assert value(tx, LOCKS) == 1
    subscription.take()
    tasks.finish(tx, 1, [succeeded(again)])
    assert subscription.wait(60)


def test_after_a_lost_connection_everybody_looks(results: ResultListener, tx: Tx) -> None:
    subscription = results.subscribe(uuid7(), timeout=60)
    subscription.take()
    [[pid]] = rows(tx, PID)
    value(tx, "select pg_terminate_backend(%s, 60000)", pid)
    assert subscription.wait(60)
    assert subscription.take() is None


def test_a_database_that_is_away_does_not_keep_anybody(empty_url: str) -> None:
    results = ResultListener(Database("postgresql://127.0.0.1:1/x"))
    assert not results.subscribe(uuid7(), timeout=0.01).wait(0)
    results.close()


def test_after_closing_a_new_wait_connects_again(
    results: ResultListener, tx: Tx, eventually: Callable[..., Any]
) -> None:
    results.subscribe(uuid7(), timeout=60)
    results.close()
    eventually(lambda: not rows(tx, PID))
    results.subscribe(uuid7(), timeout=60)
    assert len(rows(tx, PID)) == 1
