"""The claimer's pauses: it sleeps as long as it may, and never past the time at which a task it knows of is due."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from lavoro.message import Message
from lavoro.store import tasks
from lavoro.store.database import Database, Tx
from lavoro.worker import claimer
from lavoro.worker.claimer import BUSY, RESTING, Claimer
from lavoro.worker.holding import Holding
from lavoro.worker.pools.threads import ThreadPool
from tests.store.walk import message, registered, rows, value

POLL = 0.5
LATER = 6.0
"""Seconds: sooner than a rest ends, and later than a slow machine needs for a test's first steps."""


class Node:
    """A claimer whose steps the test takes itself, and whose supervisor listens as soon as it is told to."""

    def __init__(self, database: Database, worker_id: int) -> None:
        self.asked: list[bool] = []
        self.pool = ThreadPool(100, lambda job, slot: None)
        self.claimer = Claimer(
            database, self.pool, Holding(), worker_id=worker_id, queues=["celery", "other"], prefetch=500,
            poll_interval=POLL, rest=self.asked.append,
        )  # fmt: skip

    def rest(self) -> None:
        """Take the first step, and give the supervisor's answer to the claimer's wish to rest."""
        self.claimer.step()
        assert self.asked == [True]
        self.claimer.confirm_rest()

    def settle(self) -> float:
        """Take steps, each on its time, until a pause is longer than a poll interval; return that pause."""
        while (pause := self.claimer.step()) is not None and pause <= POLL:
            time.sleep(pause)
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


def running(tx: Tx) -> int:
    return int(value(tx, "select count(*) from lavoro.running"))


def test_it_rests_while_nothing_waits(node: Node) -> None:
    node.rest()
    assert node.settle() == POLL * RESTING


def test_it_rests_no_longer_when_nobody_listens(node: Node) -> None:
    node.rest()
    node.settle()
    node.claimer.confirm_rest(listening=False)
    assert [node.claimer.step() for _ in range(6)][-1] == POLL


def test_a_task_for_later_is_met_on_its_time(node: Node, tx: Tx) -> None:
    tasks.insert(tx, [message(countdown=LATER)])
    node.rest()
    assert POLL < node.settle() <= LATER


def test_a_task_for_later_is_met_on_its_time_after_one_that_was_due(node: Node, tx: Tx) -> None:
    """The look that found the first could not see the second behind it."""
    tasks.insert(tx, [message(countdown=LATER), message()])
    node.rest()
    assert POLL < node.settle() <= LATER
    assert running(tx) == 1


@pytest.mark.parametrize("sent", [message(priority=5), message(queue="other"), message(countdown=0.0)])
def test_what_comes_before_the_supervisor_listens_is_met(node: Node, tx: Tx, sent: Message) -> None:
    """Nobody slept yet, so nobody is told of it: not even of a queue or priority that had no tasks before."""
    node.claimer.step()
    tasks.insert(tx, [sent])
    node.claimer.confirm_rest()
    assert node.settle() == POLL * RESTING
    assert running(tx) == 1


def test_what_comes_for_later_before_the_supervisor_listens_is_met_on_its_time(node: Node, tx: Tx) -> None:
    node.claimer.step()
    tasks.insert(tx, [message(countdown=LATER)])
    node.claimer.confirm_rest()
    assert POLL < node.settle() <= LATER


def test_what_commits_late_is_met_although_its_lane_is_known(node: Node, tx: Tx) -> None:
    """It is below the bound of the last claim then."""
    late = message(priority=1)
    tasks.insert(tx, [message(priority=1)])
    node.rest()
    node.settle()
    tasks.insert(tx, [message(priority=1)])
    assert node.claimer.step() is not None
    assert running(tx) == 2
    tasks.insert(tx, [late])
    rows(tx, "update lavoro.waiting set due = due - interval '5 seconds' returning 1")
    node.claimer.notified("+1:celery")
    assert node.settle() == POLL * RESTING
    assert running(tx) == 3


def test_a_look_that_failed_is_made_again(node: Node, tx: Tx) -> None:
    node.rest()
    node.settle()
    tasks.insert(tx, [message()])
    rows(tx, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lavoro-claimer'")
    node.claimer.notified("!celery")
    with pytest.raises(psycopg.OperationalError):
        node.claimer.step()
    node.claimer.step()  # looks
    node.claimer.step()  # and claims
    assert running(tx) == 1


def test_a_task_that_somebody_holds_hides_others_for_a_poll_interval_at_most(node: Node, tx: Tx) -> None:
    """And does not keep the claimer busy."""
    tasks.insert(tx, [message(), message(countdown=LATER)])
    pauses = []
    with tx.connection.transaction():
        rows(tx, "select 1 from lavoro.waiting for update")
        node.rest()
        for _ in range(8):
            pauses.append(node.claimer.step() or 0)
            time.sleep(pauses[-1])
    assert sum(pause < 0.005 for pause in pauses) <= 3
    assert max(pauses) == POLL


def test_a_look_that_is_due_is_not_put_off_until_a_task_is(node: Node, tx: Tx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claimer, "CHEAP", 0.0)  # so that the next look has to wait a little
    tasks.insert(tx, [message(countdown=LATER)])
    node.rest()
    node.settle()
    tasks.insert(tx, [message(queue="other")])
    node.claimer.notified("+0:other")
    node.settle()
    assert running(tx) == 1


def test_many_tasks_at_a_time_are_no_reason_to_rest(node: Node, tx: Tx) -> None:
    tasks.insert(tx, [message() for _ in range(BUSY)])
    node.claimer.step()
    assert running(tx) == BUSY
    assert node.asked == []
