"""Finishing: at most one outcome is accepted, of the start that holds the task."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from lavoro import states
from lavoro.protocol import outcome
from lavoro.protocol.message import Job
from lavoro.protocol.outcome import Finished
from lavoro.store import results, tasks, workers
from lavoro.store.tx import Tx
from lavoro.store.workers import Ending, Rescue
from tests.store.walk import heard, message, rows, send, sent_and_taken, stage_of, stored, succeeded, take, value


def test_a_success_is_stored_with_all_that_is_known(tx: Tx) -> None:
    job = sent_and_taken(tx, kwargs='{"x":1}', options='{"root_id":"r"}')
    [(due, created, started)] = rows(tx, "select due_at, created_at, started_at from lavoro.running")
    assert tasks.finish(tx, 1, [outcome.succeeded(job, '{"a":1}', 0.25, children='["x"]')]) == 1
    columns = (
        "state, worker_id, queue, priority, attempt, retries, crashes, runtime, due_at, created_at, started_at, name,"
        " args::text, kwargs::text, options::text, payload, result::text, result_payload, children::text, traceback"
    )
    assert rows(tx, f"select {columns} from lavoro.finished where id = %s", job.id) == [
        (
            "SUCCESS", 1, "celery", 0, 1, 0, 0, 0.25, due, created, started, "test.add", "[1,2]", '{"x":1}',
            '{"root_id":"r"}', None, '{"a":1}', None, '["x"]', None,
        )
    ]  # fmt: skip
    assert rows(tx, "select 1 from lavoro.running") == []


@pytest.mark.parametrize(
    ("make", "state", "table"),
    [
        (lambda job: outcome.succeeded(job, "1", 0.1), states.SUCCESS, "finished_success"),
        (lambda job: outcome.ignored(job, 0.1), states.IGNORED, "finished_success"),
        (lambda job: outcome.failed(job, '{"exc_type":"E"}', "Trace", 0.1), states.FAILURE, "finished_failure"),
        (lambda job: outcome.revoked(job, '{"exc_type":"E"}'), states.REVOKED, "finished_failure"),
    ],
)
def test_each_state_has_its_retention(tx: Tx, make: Callable[..., Finished], state: str, table: str) -> None:
    ended = make(sent_and_taken(tx))
    assert tasks.finish(tx, 1, [ended]) == 1
    assert rows(tx, f"select state, result::text, traceback from lavoro.{table}") == [
        (state, ended.result, ended.traceback)
    ]


@pytest.mark.parametrize("together", [True, False])
def test_outcomes_of_all_kinds(tx: Tx, together: bool) -> None:
    tasks.insert(tx, [message() for _ in range(5)])
    jobs = take(tx)
    kinds = [
        outcome.succeeded(jobs[0], "1", 0.1),
        outcome.failed(jobs[1], '{"a":"\\u0000"}', "Zurück"),
        outcome.ignored(jobs[2], 0.3),
        outcome.succeeded(jobs[3], '"application/x-python-serialize"', 0.4, payload=b"\x00\x80"),
        outcome.succeeded(jobs[4], None, 0.5, children="[]"),
    ]
    for batch in [kinds] if together else [[kind] for kind in kinds]:
        assert tasks.finish(tx, 1, batch) == len(batch)
    for ended in kinds:
        found = stored(tx, ended.job.id)
        assert (found.state, found.result, found.traceback, found.result_payload, found.children) == (
            ended.state, ended.result, ended.traceback, ended.payload, ended.children,
        )  # fmt: skip


@pytest.mark.parametrize("count", [1, 2])
def test_a_zero_byte_is_refused(tx: Tx, count: int) -> None:
    tasks.insert(tx, [message() for _ in range(count)])
    ended = [outcome.failed(job, "{}", "before\0behind") for job in take(tx)]
    with pytest.raises(psycopg.DataError, match="0x00"):
        tasks.finish(tx, 1, ended)


def test_the_outcome_of_a_finished_task_is_read_alone(tx: Tx) -> None:
    jobs = [sent_and_taken(tx), sent_and_taken(tx)]
    assert results.fetch_outcome(tx, jobs[0].id) is None
    tasks.finish(tx, 1, [outcome.succeeded(jobs[0], '{"a":"\u00e4"}', 0.1)])
    tasks.finish(tx, 1, [outcome.succeeded(jobs[1], '"application/x-python-serialize"', 0.1, payload=b"\0\x80")])
    read = [results.fetch_outcome(tx, job.id) for job in jobs]
    assert [outcome[:3] for outcome in read if outcome] == [
        ("SUCCESS", '{"a":"ä"}', None), ("SUCCESS", '"application/x-python-serialize"', b"\0\x80"),
    ]  # fmt: skip


def test_an_outcome_has_all_that_is_told_of_it(tx: Tx) -> None:
    job = sent_and_taken(tx)
    failed = outcome.failed(job, "{}", "Traceback: ä")
    tasks.finish(tx, 1, [failed._replace(children='["7"]')])
    read = results.fetch_outcome(tx, job.id)
    assert read is not None
    assert read[3:] == rows(tx, "select traceback, children::text, finished_at from lavoro.finished")[0]
    assert (read.traceback, read.children) == ("Traceback: ä", '["7"]')


def test_another_worker_is_refused(tx: Tx) -> None:
    job = sent_and_taken(tx)
    assert tasks.finish(tx, 2, [succeeded(job)]) == 0
    assert stage_of(tx, job.id) == "running"


@pytest.mark.parametrize("attempt", [0, 2])
def test_another_start_is_refused(tx: Tx, attempt: int) -> None:
    job = sent_and_taken(tx)
    assert tasks.finish(tx, 1, [succeeded(job._replace(attempt=attempt))]) == 0
    assert tasks.requeue(tx, 1, [outcome.released(job._replace(attempt=attempt))]) == 0
    assert stage_of(tx, job.id) == "running"


def test_a_retry_changes_priority_and_expiry(tx: Tx) -> None:
    first, second = dt.datetime(2040, 1, 1, tzinfo=dt.timezone.utc), dt.datetime(2041, 1, 1, tzinfo=dt.timezone.utc)
    changes: list[dict[str, Any]] = [
        {}, {"priority": 7, "expires": second}, {"priority": -2, "expires_in": 3600.0},
    ]  # fmt: skip
    tasks.insert(tx, [message(expires=first) for _ in changes])
    jobs = take(tx)
    back = [outcome.retrying(job, countdown=0.0, **changed) for job, changed in zip(jobs, changes, strict=True)]
    assert tasks.requeue(tx, 1, back) == 3
    query = "select priority, expires_at, expires_at < now() + interval '2 hours' from lavoro.waiting where id = %s"
    unchanged, later, sooner = [rows(tx, query, job.id)[0] for job in jobs]
    assert (unchanged[:2], later[:2], sooner[0], sooner[2]) == ((0, first), (7, second), -2, True)


def test_a_second_outcome_is_refused(tx: Tx) -> None:
    job = sent_and_taken(tx)
    assert tasks.finish(tx, 1, [succeeded(job, "1")]) == 1
    assert tasks.finish(tx, 1, [succeeded(job, "2")]) == 0
    assert tasks.requeue(tx, 1, [outcome.retrying(job)]) == 0
    assert rows(tx, "select result::text from lavoro.finished") == [("1",)]
    assert rows(tx, "select 1 from lavoro.waiting") == []


def test_only_those_that_hold_are_accepted(tx: Tx) -> None:
    tasks.insert(tx, [message() for _ in range(4)])
    good, wrong_start, again, _ = jobs = take(tx)
    tasks.finish(tx, 1, [succeeded(again)])
    strangers = sent_and_taken(tx, worker_id=2)
    batch = [good, wrong_start._replace(attempt=9), again, strangers]
    assert tasks.finish(tx, 1, [succeeded(job) for job in batch]) == 1
    assert [stage_of(tx, job.id) for job in (*jobs, strangers)] == [
        "finished",
        "running",
        "finished",
        "running",
        "running",
    ]


def test_the_accepted_are_told_apart_from_the_refused(tx: Tx) -> None:
    tasks.insert(tx, [message() for _ in range(4)])
    finished, retried, released, running = take(tx)
    tasks.finish(tx, 1, [succeeded(finished)])
    tasks.requeue(tx, 1, [outcome.retrying(retried), outcome.released(released)])
    ids = [job.id for job in (finished, retried, released, running)]
    assert tasks.accepted(tx, 1, ids) == {(finished.id, 1), (retried.id, 1)}
    assert tasks.accepted(tx, 2, ids) == set()


def test_a_lost_start_was_not_accepted(tx: Tx) -> None:
    """The record of its loss is no outcome: what comes late is told as refused."""
    job = sent_and_taken(tx)
    workers.rescue(tx, Rescue(1, Ending.expired("its lease expired")), max_crashes=3)
    assert tasks.finish(tx, 1, [succeeded(job)]) == 0
    assert tasks.accepted(tx, 1, [job.id]) == set()


def test_two_finishers_of_one_task_agree(tx: Tx, opened: Callable[[], Tx]) -> None:
    """The slower one, which waited for the row, must see that the row is gone."""
    job, other = sent_and_taken(tx), opened()
    with tx.connection.transaction():
        assert tasks.finish(tx, 1, [succeeded(job)]) == 1
        other.cursor.execute("set lock_timeout = '1ms'")
        with pytest.raises(Exception, match="lock timeout"):
            tasks.finish(other, 1, [succeeded(job)])
    assert tasks.finish(other, 1, [succeeded(job)]) == 0


@pytest.mark.parametrize("waiting", [False, True])
def test_a_finish_tells_who_waits_for_results(tx: Tx, opened: Callable[[], Tx], waiting: bool) -> None:
    ears = opened().connection
    ears.execute("listen lavoro_done")
    if waiting:
        ears.execute("select pg_advisory_lock_shared(hashtextextended('lavoro_results', 0))")
    tasks.insert(tx, [message() for _ in range(450)])
    jobs = take(tx, limit=450)
    tasks.finish(tx, 1, [succeeded(job) for job in jobs])
    pages = heard(ears, "lavoro_done")
    assert {id for page in pages for id in page.split(",")} == ({str(job.id) for job in jobs} if waiting else set())
    assert all(len(page) < 8000 for page in pages)


def test_progress_is_fenced(tx: Tx) -> None:
    job = sent_and_taken(tx)
    assert tasks.store_progress(tx, 1, job, state="PROGRESS", meta='{"done":1}')
    assert not tasks.store_progress(tx, 2, job, state="WRONG", meta=None)
    assert not tasks.store_progress(tx, 1, job._replace(attempt=2), state="WRONG", meta=None)
    assert (stored(tx, job.id).state, stored(tx, job.id).result) == ("PROGRESS", '{"done":1}')
    tasks.finish(tx, 1, [succeeded(job)])
    assert not tasks.store_progress(tx, 1, job, state="LATE", meta=None)


# Giving back


def test_a_retry_waits_with_its_reason_and_records_the_start(tx: Tx) -> None:
    job = sent_and_taken(tx, kwargs='{"x":1}', options='{"root_id":"r"}')
    [(created, started)] = rows(tx, "select created_at, started_at from lavoro.running")
    back = outcome.retrying(job, countdown=60.0, reason="later", error='{"exc_type":"E"}', traceback="Trace")
    before = value(tx, "select clock_timestamp()")
    assert tasks.requeue(tx, 1, [back]) == 1
    columns = (
        "queue, priority, attempt, retries, crashes, created_at, name, args::text, kwargs::text, options::text, reason,"
        " due_at - %s between '60 s' and '60 s' + (clock_timestamp() - %s)"
    )
    assert rows(tx, f"select {columns} from lavoro.waiting", before, before) == [
        ("celery", 0, 1, 1, 0, created, "test.add", "[1,2]", '{"x":1}', '{"root_id":"r"}', "later", True)
    ]
    columns = "id, number, worker_id, state, started_at, reason, error::text, traceback"
    assert rows(tx, f"select {columns} from lavoro.attempt") == [
        (job.id, 1, 1, "RETRY", started, "later", '{"exc_type":"E"}', "Trace")
    ]
    rows(tx, "update lavoro.waiting set due_at = now() returning 1")
    [again] = take(tx)
    assert (again.attempt, again.retries) == (2, 1)


def test_a_retry_at_a_time(tx: Tx) -> None:
    eta = dt.datetime(2100, 1, 1, tzinfo=dt.timezone.utc)
    tasks.requeue(tx, 1, [outcome.retrying(sent_and_taken(tx), eta=eta)])
    assert value(tx, "select due_at from lavoro.waiting") == eta


@pytest.mark.parametrize("when", [{"eta": dt.datetime(1960, 1, 1, tzinfo=dt.timezone.utc)}, {"countdown": -1e9}])
def test_a_retry_in_the_past_is_due_now(tx: Tx, when: dict[str, object]) -> None:
    job, before = sent_and_taken(tx), value(tx, "select clock_timestamp()")
    assert tasks.requeue(tx, 1, [outcome.retrying(job, **when)]) == 1
    assert value(tx, "select due_at between %s and clock_timestamp() from lavoro.waiting", before)


def test_a_retry_may_change_the_call(tx: Tx) -> None:
    plain, packed = sent_and_taken(tx), sent_and_taken(tx, args=None, payload=b"x")
    tasks.requeue(tx, 1, [
        outcome.retrying(plain, countdown=0.0, queue="slow", args="[9]", kwargs='{"y":2}', options='{"shadow":"s"}'),
        outcome.retrying(packed, countdown=0.0, args="[8]"),
    ])  # fmt: skip
    columns = "queue, args::text, kwargs::text, options::text, payload"
    assert rows(tx, f"select {columns} from lavoro.waiting where id = %s", plain.id) == [
        ("slow", "[9]", '{"y":2}', '{"shadow":"s"}', None)
    ]
    assert rows(tx, f"select {columns} from lavoro.waiting where id = %s", packed.id) == [
        ("celery", "[8]", None, None, None)
    ]


def test_a_payload_replaces_json_and_stays_when_nothing_is_said(tx: Tx) -> None:
    plain, packed = sent_and_taken(tx, kwargs="{}"), sent_and_taken(tx, args=None, payload=b"x")
    tasks.requeue(tx, 1, [outcome.retrying(plain, payload=b"new"), outcome.retrying(packed)])
    columns = "args::text, kwargs::text, payload"
    assert rows(tx, f"select {columns} from lavoro.waiting where id = %s", plain.id) == [(None, None, b"new")]
    assert rows(tx, f"select {columns} from lavoro.waiting where id = %s", packed.id) == [(None, None, b"x")]


def test_a_release_costs_nothing_and_keeps_the_place(tx: Tx) -> None:
    first, second = sent_and_taken(tx), send(tx)
    assert tasks.requeue(tx, 1, [outcome.released(first)]) == 1
    assert rows(tx, "select 1 from lavoro.attempt") == []
    again = take(tx)
    assert [job.id for job in again] == [first.id, second]
    assert again[0] == first


def test_a_requeue_is_recorded_and_goes_to_the_end(tx: Tx) -> None:
    first, second = sent_and_taken(tx), send(tx)
    tasks.requeue(tx, 1, [outcome.requeued(first, "rejected: not now")])
    assert [(job.id, job.attempt, job.retries) for job in take(tx)] == [(second, 1, 0), (first.id, 2, 0)]
    assert rows(tx, "select state, reason from lavoro.attempt") == [("REJECTED", "rejected: not now")]


def test_a_postponed_task_waits_longer_as_it_grows_older(tx: Tx) -> None:
    job = sent_and_taken(tx)
    waits = []
    for age in ("0", "30 seconds", "10 minutes", "10 days"):
        rows(tx, "update lavoro.running set created_at = clock_timestamp() - %s::interval returning 1", age)
        tasks.requeue(tx, 1, [outcome.postponed(job, "unknown here", 5.0, 3600.0)])
        waits.append(
            round(float(value(tx, "select extract(epoch from due_at - clock_timestamp()) from lavoro.waiting")), -1)
        )
        rows(tx, "update lavoro.waiting set due_at = now() returning 1")
        [job] = take(tx)
    assert waits == [0, 30, 600, 3600]
    assert (job.attempt, job.retries) == (1, 0)
    assert rows(tx, "select 1 from lavoro.attempt") == []


def test_what_comes_back_wakes_claimers_to_look_below_their_bounds(tx: Tx, opened: Callable[[], Tx]) -> None:
    ears = opened().connection
    ears.execute("listen lavoro_wake")
    jobs = [sent_and_taken(tx), sent_and_taken(tx), sent_and_taken(tx, queue="b")]
    tasks.requeue(tx, 1, [outcome.released(job) for job in jobs])
    assert sorted(n.payload for n in ears.notifies(timeout=30, stop_after=2)) == ["back:b", "back:celery"]


def test_another_worker_cannot_requeue(tx: Tx) -> None:
    job = sent_and_taken(tx)
    assert tasks.requeue(tx, 2, [outcome.retrying(job)]) == 0
    assert rows(tx, "select 1 from lavoro.attempt") == []
    assert stage_of(tx, job.id) == "running"


def test_a_task_that_was_sent_again_meanwhile_can_be_given_back(tx: Tx) -> None:
    job = sent_and_taken(tx)
    tasks.insert(tx, [message(id=job.id)])
    assert tasks.requeue(tx, 1, [outcome.retrying(job)]) == 1
    assert value(tx, "select count(*) from lavoro.waiting where id = %s", job.id) == 1


# Beside a revoke that has begun first

Settle = Callable[[Tx, Job], int]
SETTLE = pytest.mark.parametrize(
    "settle",
    [
        lambda tx, job: tasks.finish(tx, 1, [succeeded(job)]),
        lambda tx, job: tasks.requeue(tx, 1, [outcome.retrying(job)]),
    ],
    ids=["finish", "requeue"],
)


@SETTLE
def test_an_outcome_that_waited_for_a_revoke_is_accepted(
    tx: Tx, opened: Callable[[], Tx], settle: Settle, until_it_waits: Callable[..., None]
) -> None:
    """The row is another version by then, which the statement that waited cannot see."""
    job, other, accepted = sent_and_taken(tx), opened(), []
    thread = threading.Thread(target=lambda: accepted.append(settle(other, job)))
    with tx.connection.transaction():
        assert tasks.revoke(tx, [job.id], cancel="{}") == 1
        thread.start()
        until_it_waits("lavoro-test")
    thread.join(60)
    assert accepted == [1]
    assert stage_of(tx, job.id) != "running"
