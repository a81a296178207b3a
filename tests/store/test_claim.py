"""Claiming: in order, from the lanes asked for, and never one task to two workers."""

from __future__ import annotations

import datetime as dt
import math
import threading
import uuid
from collections import Counter
from collections.abc import Callable

import psycopg
import pytest

from lavoro.protocol import outcome
from lavoro.protocol.message import Job
from lavoro.store import tasks
from lavoro.store.database import Database
from lavoro.store.tx import Tx
from tests.store.walk import LONG_AGO, lane, message, rows, send, sent_and_taken, stage_of, stored, take, value

UTC = dt.timezone.utc


def test_a_claim_moves_the_row_and_returns_the_job(tx: Tx) -> None:
    expires = dt.datetime(2100, 1, 1, tzinfo=UTC)
    sent = message(priority=3, retries=2, kwargs='{"x":1}', options='{"root_id":"r"}', expires=expires)
    tasks.insert(tx, [sent])
    due = value(tx, "select due_at from lavoro.waiting")
    assert take(tx, lane(priority=3), worker_id=3) == [
        Job(
            sent.id,
            "test.add",
            "[1,2]",
            '{"x":1}',
            '{"root_id":"r"}',
            None,
            "celery",
            3,
            1,
            2,
            0,
            due,
            expires,
            False,
            False,
        )
    ]
    columns = (
        "id, worker_id, queue, priority, attempt, retries, due_at, expires_at, name,"
        " args::text, kwargs::text, options::text"
    )
    assert rows(tx, f"select {columns} from lavoro.running") == [
        (sent.id, 3, "celery", 3, 1, 2, due, expires, "test.add", "[1,2]", '{"x":1}', '{"root_id":"r"}')
    ]
    assert rows(tx, "select 1 from lavoro.waiting") == []


def test_a_payload_comes_as_it_was_sent(tx: Tx) -> None:
    job = sent_and_taken(tx, args=None, payload=b"\x00\xff")
    assert (job.args, job.kwargs, job.payload) == (None, None, b"\x00\xff")


def test_nothing_to_claim(tx: Tx) -> None:
    assert take(tx) == []


def test_first_by_priority_then_by_due_time(tx: Tx) -> None:
    low = [send(tx), send(tx)]
    high = [send(tx, priority=5), send(tx, priority=5)]
    below = send(tx, priority=-1)
    lanes = [lane(priority=5), lane(priority=0), lane(priority=-1)]
    assert [job.id for job in take(tx, *lanes, limit=3)] == [*high, low[0]]
    assert [job.id for job in take(tx, *lanes)] == [low[1], below]


def test_a_task_that_was_due_earlier_comes_first_though_it_was_sent_later(tx: Tx) -> None:
    second, first = send(tx), send(tx)
    rows(tx, "update lavoro.waiting set due_at = due_at - interval '1 minute' where id = %s returning 1", first)
    assert [job.id for job in take(tx)] == [first, second]


def test_the_first_lanes_with_work_use_up_the_limit(tx: Tx) -> None:
    for queue in "abc":
        tasks.insert(tx, [message(queue=queue) for _ in range(3)])
    taken = take(tx, lane("b"), lane("a"), lane("c"), limit=5)
    assert Counter(job.queue for job in taken) == {"b": 3, "a": 2}


def test_only_the_lanes_asked_for(tx: Tx) -> None:
    send(tx, queue="other")
    send(tx, priority=1)
    assert take(tx) == []


def test_the_limit_holds(tx: Tx) -> None:
    tasks.insert(tx, [message() for _ in range(5)])
    assert len(take(tx, limit=2)) == 2
    assert value(tx, "select count(*) from lavoro.waiting") == 3


def test_what_is_due_later_stays(tx: Tx) -> None:
    send(tx, countdown=3600.0)
    assert take(tx) == []


def test_a_worker_that_was_given_up_gets_nothing(tx: Tx) -> None:
    send(tx)
    assert take(tx, worker_id=99) == []
    rows(tx, "update lavoro.worker set stopped_at = now() where id = 1 returning 1")
    assert take(tx) == []
    assert len(take(tx, worker_id=2)) == 1


def test_a_paused_queue_gives_nothing(tx: Tx) -> None:
    send(tx)
    send(tx, queue="other")
    rows(tx, "insert into lavoro.queue (name, paused_at) values ('celery', now()), ('other', null) returning 1")
    assert [job.queue for job in take(tx, lane(), lane("other"))] == ["other"]


def test_the_lower_bound_is_included(tx: Tx) -> None:
    below, at = send(tx), send(tx)
    due = value(tx, "select due_at from lavoro.waiting where id = %s", at)
    assert [job.id for job in take(tx, lane(bound=due))] == [at]
    assert [job.id for job in take(tx, lane(bound=LONG_AGO))] == [below]


def test_an_expired_task_says_so(tx: Tx) -> None:
    gone, valid = send(tx, expires_in=0.0), send(tx, expires_in=3600.0)
    assert {job.id: job.expired for job in take(tx)} == {gone: True, valid: False}


def test_a_task_that_was_revoked_before_it_was_sent_says_so(tx: Tx) -> None:
    revoked = message()
    tasks.revoke(tx, [revoked.id], cancel="{}")
    other = message()
    tasks.insert(tx, [revoked, other])
    assert {job.id: job.revoked for job in take(tx)} == {revoked.id: True, other.id: False}


def test_a_claimer_passes_over_what_another_is_claiming(opened: Callable[[], Tx]) -> None:
    one, other = opened(), opened()
    tasks.insert(one, [message() for _ in range(4)])
    with one.connection.transaction():
        mine = take(one, limit=2)
        theirs = take(other)
        assert len(mine) == len(theirs) == 2
        assert not {job.id for job in mine} & {job.id for job in theirs}


def test_claimers_in_a_hurry_never_share_a_task(database: Database, tx: Tx, opened: Callable[[], Tx]) -> None:
    count, claimers = 2000, 6
    tasks.insert(tx, [message(priority=number % 2) for number in range(count)])
    taken: list[uuid.UUID] = []
    start = threading.Barrier(claimers)

    def work(own: Tx, worker_id: int) -> None:
        start.wait(30)
        while jobs := take(own, lane(priority=1), lane(), limit=7, worker_id=worker_id):
            taken.extend(job.id for job in jobs)

    threads = [threading.Thread(target=work, args=(opened(), number)) for number in range(1, claimers + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    taken += [job.id for job in take(tx, lane(priority=1), lane(), limit=count)]  # a claimer stops at locked rows
    assert len(taken) == len(set(taken)) == count


def test_an_id_that_runs_already_stops_a_claim_until_it_is_put_off(tx: Tx) -> None:
    first = sent_and_taken(tx)
    tasks.insert(tx, [message(id=first.id)])
    innocent = send(tx)
    with pytest.raises(psycopg.errors.UniqueViolation):
        take(tx)
    assert tasks.postpone_doubles(tx) == 1
    assert [job.id for job in take(tx)] == [innocent]
    assert stage_of(tx, first.id) == "running"


def test_a_lost_claim_is_adopted(tx: Tx) -> None:
    known, lost, others = sent_and_taken(tx), sent_and_taken(tx), sent_and_taken(tx, worker_id=2)
    assert tasks.adopt(tx, 1, known=[known.id]) == [lost]
    assert tasks.adopt(tx, 1, known=[known.id, lost.id]) == []
    assert tasks.adopt(tx, 2, known=[]) == [others]


# Lanes


def test_lanes_best_priority_first_then_in_the_workers_order(tx: Tx) -> None:
    for queue, priority in [("b", 0), ("a", 0), ("a", 5), ("b", -3), ("a", 0), ("not ours", 9)]:
        send(tx, queue=queue, priority=priority)
    found = tasks.discover_lanes(tx, ["a", "b", "empty"])
    assert [lane[:2] for lane in found] == [("a", 5), ("a", 0), ("b", 0), ("b", -3)]
    found = tasks.discover_lanes(tx, ["b", "a"])
    assert [lane[:2] for lane in found] == [("a", 5), ("b", 0), ("a", 0), ("b", -3)]


def test_a_lane_says_when_its_first_task_is_due(tx: Tx) -> None:
    send(tx, countdown=3600.0)
    send(tx, countdown=7200.0)
    send(tx, priority=1)
    [(_, _, now), (_, _, later)] = tasks.discover_lanes(tx, ["celery"])
    assert now == 0
    assert 3500 < later <= 3600


def test_a_task_that_is_never_due_hides_no_other_lane(tx: Tx) -> None:
    """Up to PostgreSQL 16 no time can be subtracted from infinity."""
    send(tx)
    send(tx, priority=1)
    rows(tx, "update lavoro.waiting set due_at = 'infinity' where priority = 1 returning 1")
    [(_, first, never), (_, second, now)] = tasks.discover_lanes(tx, ["celery"])
    assert (first, never, second, now) == (1, math.inf, 0, 0)


def test_a_paused_queue_has_no_lanes(tx: Tx) -> None:
    send(tx)
    rows(tx, "insert into lavoro.queue (name, paused_at) values ('celery', now()), ('other', null) returning 1")
    send(tx, queue="other")
    assert [lane[0] for lane in tasks.discover_lanes(tx, ["celery", "other"])] == ["other"]


def test_a_task_that_polls_for_ever_does_not_run_out_of_numbers(tx: Tx) -> None:
    """Neither its own nor, through a claim that fails, the whole queue's."""
    id = send(tx, retries=70_000)
    rows(tx, "update lavoro.waiting set attempt = 70000 returning 1")
    [job] = take(tx)
    assert (job.attempt, job.retries) == (70_001, 70_000)
    assert tasks.requeue(tx, 1, [outcome.retrying(job, countdown=0.0)]) == 1
    [job] = take(tx)
    assert tasks.finish(tx, 1, [outcome.succeeded(job, "1", 0.1)]) == 1
    assert (stored(tx, id).attempt, stored(tx, id).retries) == (70_002, 70_001)


@pytest.mark.parametrize("expires", ["-infinity", "4000-01-01 BC", "0001-01-01", "20000-01-01", "infinity"])
def test_a_time_that_python_does_not_know_keeps_nobody_from_being_claimed(tx: Tx, expires: str) -> None:
    """A claim reads all of its rows or none: one that a person has damaged would stop the queue."""
    damaged, sound = send(tx), send(tx)
    rows(tx, "update lavoro.waiting set expires_at = %s where id = %s returning 1", expires, damaged)
    claimed = take(tx)
    assert {job.id: job.expired for job in claimed} == {damaged: expires[0] in "-40", sound: False}
    assert {job.id for job in tasks.adopt(tx, 1, known=[])} == {damaged, sound}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("attempt", "2147483647"), ("attempt", "-1"), ("retries", "2147483647"), ("crashes", "32767"),
        ("created_at", "'-infinity'"), ("created_at", "'infinity'"), ("created_at", "'20000-01-01'"),
        ("due_at", "'-infinity'"), ("name", "''"), ("queue", "''"),
    ],
)  # fmt: skip
def test_damage_that_would_stop_others_is_refused(tx: Tx, column: str, value: str) -> None:
    send(tx)
    with pytest.raises(psycopg.errors.CheckViolation):
        rows(tx, f"update lavoro.waiting set {column} = {value} returning 1")
