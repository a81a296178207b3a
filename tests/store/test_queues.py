"""What people ask of queues and workers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from lavoro.exceptions import OperationalError, SchemaOutdated
from lavoro.store import queues, tasks, workers
from lavoro.store.database import Database
from lavoro.store.queues import QueueStatus, pause, purge, queue_status, resume, worker_status, workers_of
from lavoro.store.tx import Tx
from tests.conftest import Eventually
from tests.store.walk import lane, message, registered, rows, send, sent_and_taken, take


def test_nothing_at_all(database: Database) -> None:
    assert queue_status(database) == []


def test_each_queue_is_counted(database: Database, tx: Tx) -> None:
    sent_and_taken(tx, queue="b")
    tasks.insert(tx, [message(queue="a"), message(queue="a", countdown=3600.0), message(queue="c", countdown=60.0)])
    rows(tx, "update lavoro.waiting set due_at = due_at - interval '90 s' where queue = 'a' returning 1")
    registered(tx, queues=["c", "d"], process=2)
    registered(tx, queues=["a"], process=3, lease=0.0)
    a, b, c = queue_status(database)
    assert a == QueueStatus("a", ready=1, scheduled=1, running=0, oldest=a.oldest, paused=False, served=False)
    assert a.oldest is not None
    assert 90 <= a.oldest < 150
    assert b == QueueStatus("b", ready=0, scheduled=0, running=1, oldest=None, paused=False, served=False)
    assert c == QueueStatus("c", ready=0, scheduled=1, running=0, oldest=None, paused=False, served=True)


def test_a_paused_queue_starts_nothing_until_it_is_resumed(database: Database, tx: Tx) -> None:
    send(tx, queue="a")
    pause(database, ["a", "b", "a"])
    pause(database, ["a"])
    assert [(status.queue, status.paused) for status in queue_status(database)] == [("a", True), ("b", True)]
    assert tasks.discover_lanes(tx, ["a"]) == []
    assert take(tx, lane("a")) == []
    resume(database, ["a", "c"])
    assert [(status.queue, status.paused) for status in queue_status(database)] == [("a", False), ("b", True)]
    assert len(take(tx, lane("a"))) == 1


def test_resuming_wakes_who_sleeps_when_there_is_something_to_find(
    database: Database, opened: Callable[[], Tx]
) -> None:
    ears, other = opened(), opened()
    send(other, queue="a")
    pause(database, ["a"])
    ears.cursor.execute("listen lavoro_wake")
    resume(database, ["a"])
    [heard] = ears.connection.notifies(timeout=60, stop_after=1)
    assert heard.payload == "back:a"
    assert len(tasks.discover_lanes(other, ["a"])) == 1


def test_purging_deletes_what_waits_on_these_queues_only(database: Database, tx: Tx) -> None:
    sent_and_taken(tx, queue="a")
    tasks.insert(tx, [message(queue=queue, countdown=countdown) for queue in "aabc" for countdown in (0.0, 60.0)])
    assert purge(database, ["a", "b", "none"]) == (6, {})
    assert [(status.queue, status.ready, status.running) for status in queue_status(database)] == [
        ("a", 0, 1),
        ("c", 1, 0),
    ]


def test_purging_takes_its_time(
    empty_url: str, tx: Tx, opened: Callable[[], Tx], monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """Longer than others wait for an answer."""
    monkeypatch.setattr("lavoro.store.database.ANSWER", 0.5)
    send(tx, queue="a")
    database, other = Database(empty_url), opened()
    query = """
        select 1 from pg_stat_activity where application_name = 'lavoro' and wait_event_type = 'Lock'
            and query like '%purged as%' and query_start < clock_timestamp() - interval '1 second'"""
    with ThreadPoolExecutor() as threads:
        with tx.connection.transaction():
            rows(tx, "select from lavoro.waiting for update")
            purging = threads.submit(purge, database, ["a"])
            eventually(lambda: rows(other, query), why="it has waited for twice as long")
        assert purging.result(60).deleted == 1
    database.dispose()


@pytest.mark.parametrize("ask", [pause, resume, purge])
def test_no_queues(database: Database, ask: Callable[..., object]) -> None:
    assert ask(database, []) in (None, (0, {}))


def test_live_workers(database: Database, tx: Tx) -> None:
    rows(tx, "update lavoro.worker set stopped_at = now() returning 1")
    gone = registered(tx, lease=0.0, process=8)
    mine = registered(tx, process=9, queues=["a", "b"])
    for _ in range(2):
        sent_and_taken(tx, worker_id=mine)
    [worker] = worker_status(database)
    assert gone != mine
    assert worker[:8] == ("node@test", 9, "test", 4711, "threads", 4, ["a", "b"], 2)
    assert 0 <= worker.seen < 60
    assert worker.silent == pytest.approx(worker.seen, abs=1)


def test_workers_of_a_queue(database: Database, tx: Tx) -> None:
    rows(tx, "update lavoro.worker set stopped_at = now() returning 1")
    registered(tx, queues=["b", "a"], process=1)
    registered(tx, queues=["a"], process=2)
    assert workers_of(database, "a") == (["node@test"], False)
    assert workers_of(database, "c") == ([], False)
    pause(database, ["a"])
    assert workers_of(database, "a") == (["node@test"], True)


def test_quiet_workers_serve_nothing(database: Database, tx: Tx) -> None:
    rows(tx, "update lavoro.worker set stopped_at = now() returning 1")
    first, second = registered(tx, queues=["a"], process=1), registered(tx, queues=["a", "b"], process=2)
    sent_and_taken(tx, worker_id=first)
    workers.mark_quiet(tx, worker_ids=[second], quiet=True)
    assert [worker.quiet for worker in worker_status(database)] == [False, True]
    assert workers_of(database, "b") == ([], False)
    assert workers_of(database, "a") == (["node@test"], False)
    workers.mark_quiet(tx, worker_ids=[first, second], quiet=True)
    assert not any(queue.served for queue in queue_status(database))
    workers.mark_quiet(tx, worker_ids=[first, second], quiet=False)
    assert workers_of(database, "b") == (["node@test"], False)


@pytest.mark.parametrize(("seen", "silent"), [(100, 0), (150, 45)])
def test_idle_workers_are_silent_for_longer(database: Database, tx: Tx, seen: int, silent: int) -> None:
    """A lease of 240 seconds is renewed after 90."""
    rows(tx, "update lavoro.worker set stopped_at = now() returning 1")
    registered(tx)
    query = (
        "update lavoro.worker set seen_at = now() - %s * interval '1 s',"
        " expires_at = now() + (240 - %s) * interval '1 s'"
    )
    rows(tx, f"{query} where stopped_at is null returning 1", seen, seen)
    [worker] = worker_status(database)
    assert seen <= worker.seen < seen + 20
    assert silent <= worker.silent < silent + 20


@pytest.mark.parametrize(
    "ask", [queue_status, worker_status, *(lambda db, f=f: f(db, ["a"]) for f in (pause, resume, purge))]
)
def test_errors_are_the_packages_own(database_url: str, ask: Callable[[Database], object]) -> None:
    database = Database(database_url)
    with pytest.raises(SchemaOutdated, match="run `lavoro migrate"):
        ask(database)
    database.dispose()
    with pytest.raises(OperationalError, match="cannot connect"):
        ask(Database("postgresql://127.0.0.1:1/x"))


def test_the_names_are_those_of_the_command_line() -> None:
    assert QueueStatus._fields == ("queue", "ready", "scheduled", "running", "oldest", "paused", "served", "held")
    assert queues.__doc__
