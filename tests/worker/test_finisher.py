"""The last acts of a finisher: outcomes are stored, and tasks that still run are released."""

from __future__ import annotations

import psycopg
import pytest

from lavoro.protocol import outcome
from lavoro.protocol.message import Job
from lavoro.store.database import Database
from lavoro.store.tx import Tx
from lavoro.worker.child.finisher import Finisher
from lavoro.worker.child.in_flight import InFlight
from tests.conftest import Eventually
from tests.store.walk import registered, rows, sent_and_taken, stage_of


@pytest.fixture
def in_flight() -> InFlight:
    return InFlight()


@pytest.fixture
def job(tx: Tx, in_flight: InFlight) -> Job:
    job = sent_and_taken(tx, worker_id=registered(tx))
    in_flight.add([job])
    return job


@pytest.fixture
def finisher(tx: Tx, migrated_url: str, in_flight: InFlight, job: Job) -> Finisher:
    [(worker_id,)] = rows(tx, "select worker_id from lavoro.running")
    return Finisher(Database(migrated_url), in_flight, worker_id=worker_id)


def test_the_release_of_a_running_task_is_not_waited_for(
    tx: Tx, migrated_url: str, finisher: Finisher, job: Job, eventually: Eventually
) -> None:
    """The process ends at once: the answer may come late, when another worker runs the task already."""
    with psycopg.connect(migrated_url) as other:
        other.execute("select from lavoro.running for update")
        finisher.abandon([job])
        finisher.close()
        finisher.release_running()
        assert stage_of(tx, job.id) == "running"
    eventually(lambda: stage_of(tx, job.id) == "waiting", why="the statement has gone on without us")
    assert rows(tx, "select attempt from lavoro.waiting") == [(0,)]


def test_a_task_that_ends_in_time_is_stored_and_not_released(tx: Tx, finisher: Finisher, job: Job) -> None:
    finisher.abandon([job])
    finisher.put(outcome.succeeded(job, "1", 0.1))
    finisher.close()
    finisher.release_running()
    assert stage_of(tx, job.id) == "finished"


def test_without_a_database_the_running_tasks_are_logged(
    in_flight: InFlight, job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    finisher = Finisher(Database("postgresql://127.0.0.1:1/nowhere"), in_flight, worker_id=1)
    finisher.abandon([job])
    finisher.close()
    finisher.release_running()
    assert "1 task that runs here could not be released" in caplog.text
