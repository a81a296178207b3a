"""A call claims its task for a worker that has offered to take one: in its own commit, and only where a claim would."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest

from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Job, Message
from lavoro.store import offers, queues, tasks, workers
from lavoro.store.database import Database
from lavoro.store.tx import Tx
from lavoro.store.workers import Ending, Rescue
from tests.conftest import Eventually
from tests.store.walk import heard, message, rows, stage_of, succeeded, value

WORKER = 1
SLEEPING = "select pg_advisory_lock_shared(hashtextextended('lavoro_queue:celery', 0))"


@pytest.fixture
def sleeper(database: Database) -> Iterator[psycopg.Connection[object]]:
    """Whoever listens while a worker sleeps on the queue."""
    with database.connect("sleeper") as connection:
        connection.execute(SLEEPING)
        connection.execute("listen lavoro_wake")
        connection.execute(f"listen {offers.channel('lavoro', WORKER)}")
        yield connection


def offer(tx: Tx, count: int = 1, *, worker_id: int = WORKER, queue: str = "celery", seconds: float = 60) -> None:
    rows(tx, "update lavoro.worker set queues = array['celery', 'other'] returning 1")
    offers.offer(tx, worker_id, {queue: count}, seconds=seconds)


def send(tx: Tx, **changes: object) -> Message:
    sent = message(**changes)
    tasks.insert(tx, [sent])
    return sent


def fetched(tx: Tx, *sent: Message) -> list[Job]:
    return offers.fetch(tx, WORKER, [one.id for one in sent])


def test_it_is_claimed_in_the_commit_of_the_call(tx: Tx, sleeper: psycopg.Connection[object]) -> None:
    offer(tx)
    sent = send(tx, priority=4, kwargs='{"x":1}', options='{"root_id":"r"}')
    assert heard(sleeper) == [str(sent.id)]
    (job,) = fetched(tx, sent)
    assert job[:8] == (sent.id, sent.name, sent.args, '{"x":1}', '{"root_id":"r"}', None, "celery", 4)
    assert (job.attempt, job.retries, job.crashes, job.expires, job.expired, job.revoked) == (
        1,
        0,
        0,
        None,
        False,
        False,
    )
    assert tasks.finish(tx, WORKER, [succeeded(job)]) == 1


def test_an_offer_is_for_one_task(tx: Tx, sleeper: psycopg.Connection[object]) -> None:
    offer(tx)
    first, second = send(tx), send(tx)
    assert (stage_of(tx, first.id), stage_of(tx, second.id)) == ("running", "waiting")
    assert heard(sleeper) == [str(first.id), "due:0:celery"]


def test_calls_at_the_same_moment_find_an_offer_each(
    tx: Tx, database: Database, sleeper: psycopg.Connection[object]
) -> None:
    offer(tx, 2)
    with database.connect("other") as other, other.transaction():
        other.execute("select lavoro.assign_task(%s, 'celery', 0::int2, 'a.b', '[]', null, null)", (uuid7(),))
        assert stage_of(tx, send(tx).id) == "running"  # and does not wait for the other


def test_a_call_that_is_undone_leaves_the_offer(tx: Tx, sleeper: psycopg.Connection[object]) -> None:
    offer(tx)
    with tx.connection.transaction(force_rollback=True):
        send(tx)
    assert heard(sleeper) == []
    assert stage_of(tx, send(tx).id) == "running"


@pytest.mark.parametrize(
    "why", ["nobody sleeps", "run out", "other queue", "paused", "revoked", "withdrawn", "no worker"]
)
def test_it_waits_otherwise(tx: Tx, database: Database, sleeper: psycopg.Connection[object], why: str) -> None:
    sent = message()
    offer(tx, queue="other" if why == "other queue" else "celery", seconds=-1 if why == "run out" else 60)
    if why == "nobody sleeps":
        sleeper.execute("select pg_advisory_unlock_all()")
    elif why == "paused":
        queues.pause(database, ["celery"])
    elif why == "revoked":
        tasks.revoke(tx, [sent.id], cancel="{}")
    elif why == "withdrawn":
        offers.withdraw(tx, WORKER)
    elif why == "no worker":
        workers.rescue(tx, Rescue(WORKER, Ending.expired("it is gone")), max_crashes=3)
    tasks.insert(tx, [sent])
    assert stage_of(tx, sent.id) == "waiting"


@pytest.mark.parametrize("changes", [{"countdown": 5.0}, {"expires_in": 5.0}, {"retries": 1}])
def test_what_a_claim_would_have_to_look_at_is_claimed(
    tx: Tx, sleeper: psycopg.Connection[object], changes: dict[str, object]
) -> None:
    offer(tx)
    assert stage_of(tx, send(tx, **changes).id) == "waiting"


def test_an_id_that_waits_or_runs_already_is_not_stored_again(tx: Tx, sleeper: psycopg.Connection[object]) -> None:
    waiting = send(tx)
    offer(tx)
    tasks.insert(tx, [waiting])
    assert stage_of(tx, waiting.id) == "waiting"
    running = send(tx)
    offer(tx)
    tasks.insert(tx, [running])
    assert value(tx, "select count(*) from lavoro.tasks where id = %s", running.id) == 1


def test_only_the_worker_itself_reads_the_tasks_assigned_to_it(tx: Tx, sleeper: psycopg.Connection[object]) -> None:
    offer(tx)
    sent = send(tx)
    assert offers.fetch(tx, 2, [sent.id]) == []
    assert offers.fetch(tx, WORKER, []) == []


@pytest.mark.parametrize("end", ["withdraw", "rescue"])
def test_who_ends_offers_waits_for_a_call_that_takes_one(
    tx: Tx, database: Database, sleeper: psycopg.Connection[object], eventually: Eventually, end: str
) -> None:
    """The task that it assigns must be there afterwards: to be run, or to be rescued."""
    offer(tx)
    id = uuid7()
    with database.tx() as ending, database.connect("caller") as caller:

        def finish() -> None:
            if end == "withdraw":
                offers.withdraw(ending, WORKER)
            else:
                workers.rescue(ending, Rescue(WORKER, Ending.fenced("it is gone")), max_crashes=3)

        thread = threading.Thread(target=finish)
        with caller.transaction():
            caller.execute("select lavoro.assign_task(%s, 'celery', 0::int2, 'a.b', '[]', null, null)", (id,))
            thread.start()
            waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%offer%'"
            eventually(lambda: value(tx, waits) == 1, timeout=20, why="it waits")
        thread.join(20)
    assert stage_of(tx, id) == ("running" if end == "withdraw" else "waiting")


def test_offers_that_ran_out_are_forgotten(tx: Tx) -> None:
    offer(tx, seconds=-3600)
    offer(tx, seconds=-1)
    workers.forget_old(tx, kept=None)
    assert value(tx, "select count(*) from lavoro.offer") == 1


def test_dead_offers_that_a_snapshot_keeps_are_not_read(
    tx: Tx, database: Database, sleeper: psycopg.Connection[object]
) -> None:
    offer(tx, 3000, seconds=1)
    with database.connect("reader") as reader:
        reader.execute("begin isolation level repeatable read")
        reader.execute("select 1")
        offers.withdraw(tx, WORKER)
        offer(tx, seconds=60)
        before = index_entries_read(tx)
        assert stage_of(tx, send(tx).id) == "running"
        assert index_entries_read(tx) - before < 20


def index_entries_read(tx: Tx) -> int:
    tx.connection.execute("select pg_stat_force_next_flush()")
    return int(value(tx, "select idx_tup_read from pg_stat_user_indexes where indexrelname = 'offer_open'"))


def test_a_worker_that_was_ended_offers_nothing(tx: Tx, sleeper: psycopg.Connection[object]) -> None:
    """Its statement may have been under way when it was killed."""
    workers.rescue(tx, Rescue(WORKER, Ending.expired("it is gone")), max_crashes=3)
    offer(tx)
    assert stage_of(tx, send(tx).id) == "waiting"


def test_a_call_that_is_repeated_waits_for_the_first(
    tx: Tx, database: Database, sleeper: psycopg.Connection[object], eventually: Eventually
) -> None:
    """Its answer may be lost while its commit still waits for a disk or a standby."""
    offer(tx)
    sent = message()
    with database.connect("first") as first, database.connect("second") as second:
        with first.transaction():
            first.execute("select lavoro.assign_task(%s, 'celery', 0::int2, 'a.b', '[]', null, null)", (sent.id,))
            again = threading.Thread(target=lambda: tasks.insert(Tx(second, "lavoro"), [sent], repeated=True))
            again.start()
            waits = f"select 1 from pg_stat_activity where wait_event = 'advisory' and pid = {second.info.backend_pid}"
            eventually(lambda: rows(tx, waits), timeout=20, why="it waits")
        again.join(20)
    assert value(tx, "select count(*) from lavoro.tasks where id = %s", sent.id) == 1


def test_one_that_was_cancelled_before_it_began_does_not(tx: Tx, sleeper: psycopg.Connection[object]) -> None:
    offer(tx)
    sent = send(tx)
    tasks.revoke(tx, [sent.id], cancel="{}")
    (job,) = fetched(tx, sent)
    assert job.revoked
    (job,) = tasks.adopt(tx, WORKER, known=[])
    assert job.revoked
