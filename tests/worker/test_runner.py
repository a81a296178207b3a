"""What becomes of a claimed task in a slot, without a process around it: run, unknown, cancelled, recycled."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lavoro import Lavoro
from lavoro.execution.run_settings import RunSettings
from lavoro.store.database import Database
from lavoro.store.tx import Tx
from lavoro.worker.child.finisher import Finisher
from lavoro.worker.child.in_flight import InFlight
from lavoro.worker.child.recycling import RecyclePolicy
from lavoro.worker.child.runner import TaskRunner
from lavoro.worker.scoreboard import Entry
from tests.store.walk import registered, rows, sent_and_taken, stage_of
from tests.worker.test_parts import make_scoreboard

LIMIT = 60.0


class Slot:
    """Runs a task as a slot of a pool would, and stores its outcome at once."""

    def __init__(self, url: str, tx: Tx, *, most_tasks: int = 0) -> None:
        self.tx, self.worker_id, self.in_flight = tx, registered(tx), InFlight()
        self.seen: list[Entry] = []
        self.reasons: list[str] = []
        self.scoreboard = make_scoreboard(1)
        self.finisher = Finisher(Database(url), self.in_flight, worker_id=self.worker_id)
        policy = RecyclePolicy(most_tasks=most_tasks, most_memory=0)
        self.runner = TaskRunner(self._app().tasks, self.scoreboard, self.finisher, policy)
        self.runner.settings = RunSettings("node@test", limits_hard=True)
        self.runner.recycle = self.reasons.append

    def _app(self) -> Lavoro:
        app = Lavoro("slot", broker="postgresql://h/d", set_as_current=False)
        app.task(lambda: self.seen.extend(self.scoreboard.entries()), name="look")
        app.task(lambda: self.seen.extend(self.scoreboard.entries()), name="limited", time_limit=LIMIT)
        for task in app.tasks.values():
            task.__settle__()
        return app

    def run(self, name: str, **cancel: bool) -> str | None:
        """Run a task; return the stage that it has then."""
        job = sent_and_taken(self.tx, worker_id=self.worker_id, name=name, args="[]")
        self.in_flight.add([job])
        if cancel:
            self.runner.cancel(job, **cancel)
        self.runner.run(job, 0, None)
        self.finisher.step()
        assert self.in_flight.count == 0
        assert self.scoreboard.entries() == []
        return stage_of(self.tx, job.id)


@pytest.fixture
def slot(migrated_url: str, tx: Tx) -> Iterator[Slot]:
    slot = Slot(migrated_url, tx)
    yield slot
    slot.finisher.close()


def states(tx: Tx) -> list[Any]:
    return [state for (state,) in rows(tx, "select state::text from lavoro.finished")]


def test_a_task_is_on_the_scoreboard_while_it_runs(slot: Slot) -> None:
    assert slot.run("look") == "finished"
    assert [(entry.slot, entry.deadline) for entry in slot.seen] == [(0, math.inf)]
    assert slot.scoreboard.ended() == [slot.seen[0].id]


@pytest.mark.parametrize(("by_the_pool", "grace"), [(False, 0.0), (True, 1.0)])
def test_a_pool_that_can_end_a_task_has_a_second_for_it(slot: Slot, *, by_the_pool: bool, grace: float) -> None:
    """Then the supervisor ends the process."""
    slot.runner.settings = slot.runner.settings._replace(limits_hard=by_the_pool)
    before = time.monotonic()
    slot.run("limited")
    assert before + LIMIT + grace <= slot.seen[0].deadline <= time.monotonic() + LIMIT + grace


def test_an_unknown_task_waits_for_another_worker(slot: Slot, tx: Tx) -> None:
    assert slot.run("elsewhere") == "waiting"
    assert slot.seen == []


def test_a_task_that_was_cancelled_in_flight_is_not_run(slot: Slot, tx: Tx) -> None:
    assert slot.run("look", interrupt=True) == "finished"
    assert (slot.seen, states(tx)) == ([], ["REVOKED"])
    assert slot.run("look") == "finished"  # the next one is run
    assert len(slot.seen) == 1


def test_a_run_is_interrupted_once_however_often_it_is_cancelled(slot: Slot, tx: Tx) -> None:
    job = sent_and_taken(tx, worker_id=slot.worker_id)
    assert not slot.runner.cancel(job, interrupt=False)
    assert [slot.runner.cancel(job, interrupt=True) for _ in range(2)] == [True, False]


def test_a_process_that_is_recycled_runs_no_further_task(migrated_url: str, tx: Tx) -> None:
    slot = Slot(migrated_url, tx, most_tasks=2)
    assert [slot.run("look") for _ in range(3)] == ["finished", "finished", "waiting"]
    assert slot.reasons == ["2 tasks"]
    slot.finisher.close()
