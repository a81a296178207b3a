"""The next step of a chain begins where the one before has ended, and only where a claim would begin it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from lavoro.app import Lavoro
from lavoro.canvas import chain
from lavoro.protocol import outcome
from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Job, Message
from lavoro.protocol.outcome import Finished
from lavoro.protocol.place import Follow, Place
from lavoro.store import tasks, workers
from lavoro.store.database import Database
from lavoro.store.errors import OUTAGE
from lavoro.store.offers import channel
from lavoro.store.tx import Tx
from lavoro.store.workers import Ending, Rescue
from lavoro.worker.child.successors import LATE, Successors
from tests.conftest import Eventually
from tests.store.walk import heard, message, registered, rows, stage_of, succeeded, take, value
from tests.worker.clock import Clock
from tests.worker.conftest import PATIENCE, StartWorker
from tests.worker.test_claimer import Node

DONE = "lavoro_done"
LISTENING = "select pg_advisory_lock_shared(hashtextextended('lavoro_queue:celery', 0))"


@pytest.fixture
def supervisor(migrated_url: str) -> Iterator[psycopg.Connection]:
    """The connection on which the supervisor listens for the claimer."""
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        connection.execute(LISTENING)
        connection.execute("listen lavoro_wake")
        yield connection


@pytest.fixture
def node(tx: Tx, migrated_url: str, supervisor: psycopg.Connection) -> Iterator[Node]:
    """A sleeping node that has open offers."""
    database = Database(migrated_url)
    node = Node(database, registered(tx))
    rows(tx, "update lavoro.worker set queues = array['celery', 'other'] returning 1")
    node.sleep()
    tasks.insert(tx, [message()])
    node.settle()
    assert node.claimer.serves("celery")
    heard(supervisor)
    yield node
    node.claimer.close()
    database.dispose()


@pytest.fixture
def successors(node: Node) -> Successors:
    return Successors(node.claimer, node.in_flight, worker_id=node.worker_id)


@pytest.fixture
def job(node: Node, tx: Tx) -> Job:
    """A step that runs."""
    [job] = node.in_flight.jobs()
    return job


def link(job: Job, step: Message) -> Finished:
    return succeeded(job, "7")._replace(follow=Follow((step,), step.id))


def test_the_next_step_begins_here(
    node: Node, tx: Tx, successors: Successors, job: Job, supervisor: psycopg.Connection
) -> None:
    step, waiting = message(priority=3, options='{"root_id":"r"}'), node.pool.waiting
    offers = value(tx, "select count(*) from lavoro.offer")
    assert successors.settle(tx, link(job, step))
    begun = node.in_flight.find(step.id)
    assert begun is not None
    assert begun[:9] == (step.id, step.name, step.args, None, '{"root_id":"r"}', None, "celery", 3, 1)
    assert rows(tx, "select worker_id, attempt, due_at from lavoro.running") == [(node.worker_id, 1, begun.due)]
    assert (stage_of(tx, job.id), node.pool.waiting) == ("finished", waiting + 1)
    assert (heard(supervisor), value(tx, "select count(*) from lavoro.offer")) == ([], offers)
    assert tasks.finish(tx, node.worker_id, [succeeded(begun)]) == 1


def test_callers_hear_of_ended_steps_together(
    node: Node, tx: Tx, successors: Successors, job: Job, migrated_url: str
) -> None:
    clock = Clock()
    successors = Successors(node.claimer, node.in_flight, worker_id=node.worker_id, clock=clock)
    with psycopg.connect(migrated_url, autocommit=True) as ears:
        ears.execute("select pg_advisory_lock_shared(hashtextextended('lavoro_results', 0))")
        ears.execute("listen lavoro_done")
        assert successors.tell(tx) is None
        step = message()
        assert successors.settle(tx, link(job, step))
        clock.now += LATE / 2
        begun = node.in_flight.find(step.id)
        assert begun is not None
        assert successors.settle(tx, link(begun, message()))
        assert successors.tell(tx) == pytest.approx(LATE / 2)
        assert heard(ears, DONE) == []
        clock.now += LATE / 2
        assert successors.tell(tx) is None
        assert heard(ears, DONE) == [f"{job.id},{step.id}"]
        assert successors.settle(tx, link(node.in_flight.jobs()[-1], message()))
        assert successors.tell(tx, now=True) is None
        assert len(heard(ears, DONE)) == 1
        assert successors.tell(tx, now=True) is None


def test_more_ends_than_one_notification_holds(tx: Tx, migrated_url: str) -> None:
    ids = [uuid7() for _ in range(450)]
    with psycopg.connect(migrated_url, autocommit=True) as ears:
        ears.execute("listen lavoro_done")
        tasks.tell_ended(tx, ids)
        assert heard(ears, DONE) == []
        ears.execute("select pg_advisory_lock_shared(hashtextextended('lavoro_results', 0))")
        tasks.tell_ended(tx, ids)
        told = heard(ears, DONE)
    assert [len(payload.split(",")) for payload in told] == [200, 200, 50]
    assert ",".join(told) == ",".join(map(str, ids))


def test_a_caller_waits_for_a_step_in_the_middle(start_worker: StartWorker, sender: Lavoro, migrated_url: str) -> None:
    """It hears of the end, and need not look: the next look comes after an hour."""
    start_worker("-c", "32", "--processes", "1", url=migrated_url)
    where = sender.signature("where", immutable=True)
    sender.send_task("where").get(timeout=PATIENCE)
    last = chain(*[where.clone() for _ in range(12)], sender.signature("nap", (2,), immutable=True), app=sender)
    step = last.apply_async().parent
    assert step is not None
    began = time.monotonic()
    step.get(timeout=PATIENCE, interval=3600)
    assert time.monotonic() - began < PATIENCE / 2


@pytest.mark.parametrize("why", ["paused", "revoked", "over", "busy", "waiting"])
def test_it_waits_where_no_claim_would_begin_it(
    node: Node, tx: Tx, successors: Successors, job: Job, supervisor: psycopg.Connection, why: str
) -> None:
    step = message()
    match why:
        case "paused":
            rows(tx, "insert into lavoro.queue values ('celery', now()) returning 1")
        case "revoked":
            tasks.revoke(tx, [step.id], cancel="{}")
        case "over":
            rows(tx, "update lavoro.worker set stopped_at = now() returning 1")
        case "busy":
            supervisor.execute("select pg_advisory_unlock_all()")
        case "waiting":
            tasks.insert(tx, [step._replace(countdown=60.0)])
    rows(tx, "delete from lavoro.offer returning 1")
    assert successors.settle(tx, link(job, step))
    assert (stage_of(tx, job.id), stage_of(tx, step.id)) == ("finished", "waiting")
    assert node.in_flight.find(step.id) is None


def test_other_outcomes_are_left_to_the_long_form(node: Node, tx: Tx, successors: Successors, job: Job) -> None:
    step, other = message(), message()
    ended = link(job, step)
    barrier = Place(f'{{"{uuid7()}":0}}')
    for each in (
        succeeded(job),
        outcome.retrying(job),
        outcome.failed(job, "{}", None)._replace(follow=Follow((step,), step.id)),
        ended._replace(follow=Follow((step,))),
        ended._replace(follow=Follow((step, other), step.id)),
        ended._replace(follow=Follow((step,), step.id, replaced=True)),
        ended._replace(follow=Follow((step._replace(countdown=9.0),), step.id)),
        ended._replace(follow=Follow((step._replace(place=barrier),), step.id)),
        ended._replace(follow=Follow((step._replace(queue="other"),), step.id)),
        link(job._replace(attempt=9), step),
    ):
        assert not successors.settle(tx, each)
    assert (stage_of(tx, job.id), stage_of(tx, step.id)) == ("running", None)
    node.claimer.stopping = True
    assert not successors.settle(tx, ended)
    assert node.in_flight.find(step.id) is None


def test_a_step_whose_id_is_running_already_waits_for_it(node: Node, tx: Tx, successors: Successors, job: Job) -> None:
    step = message()
    tasks.insert(tx, [step])
    take(tx, worker_id=node.worker_id)
    assert not successors.settle(tx, link(job, step))
    assert tasks.finish(tx, node.worker_id, [link(job, step)]) == 1
    assert rows(tx, "select id from lavoro.waiting") == [(step.id,)]


def test_it_takes_over_the_barriers_of_the_one_before(node: Node, tx: Tx, successors: Successors, job: Job) -> None:
    body = message(name="test.body", place=Place(held_for=uuid7(), expects=1))
    tasks.insert(tx, [body])
    assert body.place is not None
    rows(tx, "update lavoro.running set barriers = jsonb_build_object(%s::text, 0) returning 1", body.place.held_for)
    step = message()
    assert successors.settle(tx, link(job, step))
    assert stage_of(tx, body.id) == "held"
    begun = node.in_flight.find(step.id)
    assert begun is not None
    assert tasks.finish(tx, node.worker_id, [succeeded(begun, "8")]) == 1
    assert stage_of(tx, body.id) != "held"
    assert value(tx, "select result::text from lavoro.member") == "8"


def test_a_step_that_a_blocked_task_waits_for_is_handed_on_by_the_long_form(
    node: Node, tx: Tx, successors: Successors, job: Job
) -> None:
    waits, step = message(place=Place(None, None, 1, (job.id,))), message()
    tasks.insert(tx, [waits])
    assert not successors.settle(tx, link(job, step))
    assert tasks.finish(tx, node.worker_id, [link(job, step)]) == 1
    assert stage_of(tx, waits.id) != "held"


def test_a_step_that_has_begun_by_a_lost_answer_is_found(
    node: Node, tx: Tx, successors: Successors, job: Job, migrated_url: str
) -> None:
    step = message()
    stored = tasks.finish_link(tx, node.worker_id, link(job, step), step, start=True)
    assert stored is not None
    assert stored.begun is not None
    lost = Tx(psycopg.connect(migrated_url, autocommit=True), "lavoro")
    lost.connection.close()
    with pytest.raises(OUTAGE):
        successors.settle(lost, link(job, step))
    assert node.in_flight.find(step.id) is None
    node.claimer.step()
    assert node.in_flight.find(step.id) is not None


def test_a_task_of_a_worker_that_is_lost_meanwhile_begins_elsewhere(
    node: Node, tx: Tx, successors: Successors, job: Job
) -> None:
    step = message()
    assert successors.settle(tx, link(job, step))
    with tx.connection.transaction():
        workers.rescue(tx, Rescue(node.worker_id, Ending.expired("gone")), max_crashes=3)
    assert stage_of(tx, step.id) == "waiting"


def test_no_notification_tells_of_the_steps_of_a_chain(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, eventually: Eventually
) -> None:
    """Only the first one comes from another process. Offers may just have ended; then a step waits for a claim."""
    start_worker("-c", "32", "--processes", "2", url=migrated_url)
    where = sender.signature("where", immutable=True)
    with psycopg.connect(migrated_url, autocommit=True) as ears:

        def told() -> int:
            sender.send_task("where").get(timeout=PATIENCE)
            for (worker_id,) in ears.execute("select id from lavoro.worker where stopped_at is null").fetchall():
                ears.execute(f"listen {channel('lavoro', worker_id)}")
            ears.execute("listen lavoro_wake")
            heard(ears)
            last = chain(*[where.clone() for _ in range(12)], app=sender).apply_async()
            last.get(timeout=PATIENCE)
            return len(heard(ears))

        eventually(lambda: told() <= 1, timeout=PATIENCE, why="the steps begin without notifications")
        assert ears.execute("select distinct attempt, crashes from lavoro.finished").fetchall() == [(1, 0)]
