"""Which prefetched tasks are released, and when, without a process around them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lavoro.protocol.message import Job
from lavoro.store.database import Database
from lavoro.store.tx import Tx
from lavoro.worker.child.capacity import Capacity
from lavoro.worker.child.finisher import Finisher
from lavoro.worker.child.in_flight import InFlight
from lavoro.worker.child.offers import Offers
from lavoro.worker.child.pools.threads import ThreadPool
from lavoro.worker.child.prefetched import Prefetched
from tests.conftest import Eventually
from tests.store.walk import registered, sent_and_taken, stage_of
from tests.worker.conftest import PATIENCE


class Child:
    """One slot, whose task runs until ``done``, and what is prefetched behind it."""

    def __init__(self, url: str, tx: Tx) -> None:
        self.tx, self.worker_id, self.done = tx, registered(tx), threading.Event()
        self.in_flight, database = InFlight(), Database(url)
        self.pool = ThreadPool(1, lambda job, slot, call: self.done.wait(PATIENCE) and None)
        offers = Offers(self.in_flight, worker_id=self.worker_id, slots=1)
        capacity = Capacity(self.pool, self.in_flight, offers, prefetch=100)
        self.finisher = Finisher(database, self.in_flight, worker_id=self.worker_id)
        self.prefetched = Prefetched(capacity, self.finisher, offers, database)

    def claim(self) -> Job:
        """Claim a task for the pool."""
        job = sent_and_taken(self.tx, worker_id=self.worker_id)
        self.in_flight.add([job])
        self.pool.add([job])
        return job

    def stage(self, job: Job) -> str | None:
        """Store what there is to store; return where the task is."""
        self.finisher.step()
        return stage_of(self.tx, job.id)


@pytest.fixture
def child(migrated_url: str, tx: Tx, eventually: Eventually) -> Iterator[Child]:
    """A child whose slot is busy."""
    child = Child(migrated_url, tx)
    child.pool.start()
    child.claim()
    eventually(lambda: child.pool.running, timeout=PATIENCE, why="its slot is busy")
    yield child
    child.done.set()
    child.pool.stop()
    child.finisher.close()


def test_a_release_leaves_what_has_begun(child: Child) -> None:
    [begun] = child.in_flight.jobs()
    job = child.claim()
    child.prefetched.release()
    assert (child.stage(job), child.stage(begun)) == ("waiting", "running")
    assert child.in_flight.jobs() == [begun]


def test_behind_a_task_that_runs_on_it_is_released_at_the_second_tick(child: Child) -> None:
    job = child.claim()
    child.prefetched.release_stuck()
    assert child.stage(job) == "running"
    child.prefetched.release_stuck()
    assert child.stage(job) == "waiting"


def test_behind_a_blocked_loop_it_is_released_without_the_finisher(child: Child) -> None:
    job = child.claim()
    child.prefetched.release_blocked()
    assert stage_of(child.tx, job.id) == "waiting"
    assert child.in_flight.find(job.id) is None
