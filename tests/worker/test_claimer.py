"""The claimer's pauses: it sleeps as long as it may, and never past the time at which a task it knows of is due."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lavoro.message import Job, Message
from lavoro.store import tasks
from lavoro.store.database import Database, Tx
from lavoro.worker.claimer import RESTING, Claimer
from lavoro.worker.holding import Holding
from lavoro.worker.pools.threads import ThreadPool
from tests.store.walk import message, registered, rows

POLL = 10.0


class Node:
    """A claimer whose steps the test takes itself, and whose supervisor listens as soon as it is told to."""

    def __init__(self, database: Database, worker_id: int) -> None:
        self.claimed: list[str] = []
        self.asked: list[bool] = []
        self.claimer = Claimer(
            database, ThreadPool(4, self.run), Holding(), worker_id=worker_id, queues=["celery", "other"], prefetch=500,
            poll_interval=POLL, rest=self.asked.append,
        )  # fmt: skip
        self.claimer._pool.start()

    def run(self, job: Job, slot: int) -> None:
        self.claimed.append(job.name)

    def rest(self) -> None:
        """The supervisor's answer to the claimer's wish to rest."""
        assert self.asked.pop()
        self.claimer.confirm_rest()

    def pause(self) -> float:
        """Take steps until the quick looks are over; return the pause that follows them."""
        while (pause := self.claimer.step()) is not None and pause < 1:
            pass
        assert pause is not None
        return pause


@pytest.fixture
def tx(migrated_url: str) -> Iterator[Tx]:
    database = Database(migrated_url)
    with database.tx() as tx:
        yield tx
    database.dispose()


@pytest.fixture
def node(migrated_url: str, tx: Tx) -> Iterator[Node]:
    node = Node(Database(migrated_url), registered(tx))
    yield node
    node.claimer.close()


def test_it_rests_while_nothing_waits(node: Node) -> None:
    node.claimer.step()
    node.rest()
    assert node.pause() == POLL * RESTING


def test_a_task_for_later_is_met_on_its_time(node: Node, tx: Tx) -> None:
    tasks.insert(tx, [message(countdown=30.0)])
    node.claimer.step()
    node.rest()
    assert 20 < node.pause() <= 30


def test_a_task_for_later_is_met_on_its_time_after_one_that_was_due(node: Node, tx: Tx) -> None:
    """The look that found the first could not see the second behind it."""
    tasks.insert(tx, [message(countdown=30.0), message()])
    node.claimer.step()
    node.rest()
    assert 20 < node.pause() <= 30
    assert rows(tx, "select count(*) from lavoro.running") == [(1,)]


@pytest.mark.parametrize("sent", [message(priority=5), message(queue="other"), message(countdown=0.0)])
def test_what_comes_before_the_supervisor_listens_is_met(node: Node, tx: Tx, sent: Message) -> None:
    """Nobody slept yet, so nobody is told of it: not even of a queue or priority that had no tasks before."""
    node.claimer.step()
    tasks.insert(tx, [sent])
    node.rest()
    node.pause()
    assert rows(tx, "select count(*) from lavoro.running") == [(1,)]


def test_what_comes_for_later_before_the_supervisor_listens_is_met_on_its_time(node: Node, tx: Tx) -> None:
    node.claimer.step()
    tasks.insert(tx, [message(countdown=30.0)])
    node.rest()
    assert 20 < node.pause() <= 30


def test_a_task_that_somebody_holds_hides_others_for_a_poll_interval_at_most(node: Node, tx: Tx) -> None:
    """And does not keep the claimer busy."""
    tasks.insert(tx, [message(), message(countdown=30.0)])
    with tx.connection.transaction():
        rows(tx, "select 1 from lavoro.waiting for update")
        node.claimer.step()
        node.rest()
        pauses = [node.claimer.step() or 0 for _ in range(8)]
    assert pauses.count(0) <= 1
    assert pauses[-1] == POLL
