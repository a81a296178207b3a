"""The pace of claims: at intervals while lists and canvases of several senders overlap, else after notifications."""

from __future__ import annotations

import pytest

from lavoro.worker.child.in_flight import InFlight
from lavoro.worker.child.pace import ENOUGH, OVERLAP, RARE, SEVERAL, Pace
from tests.worker.clock import Clock
from tests.worker.test_capacity import jobs


class Child:
    """A child whose tasks the test claims and stores."""

    def __init__(self) -> None:
        self.clock, self.in_flight = Clock(), InFlight()
        self.pace = Pace(self.in_flight, self.clock)

    def claim(self, count: int = SEVERAL) -> None:
        """Claim so many tasks."""
        self.in_flight.add(jobs(count))
        self.pace.claimed(count)

    def store(self) -> None:
        """Store the outcomes of all."""
        self.in_flight.release(self.in_flight.jobs())

    def overlap(self, times: int = ENOUGH, *, after: float = OVERLAP / 2, count: int = SEVERAL) -> None:
        """Hear of a task ``after`` seconds while those of the last claim are in flight, so many times."""
        for _ in range(times):
            self.claim(count)
            self.clock.now += after
            self.pace.notified()
            self.store()


def test_senders_that_overlap_make_the_pace_steady() -> None:
    child = Child()
    child.overlap()
    assert not child.pace.steady, "it may have been the last one"
    child.claim()
    assert child.pace.steady


def test_a_sender_that_waits_for_its_results_does_not() -> None:
    child = Child()
    for _ in range(5 * ENOUGH):
        child.claim()
        child.store()
        child.clock.now += OVERLAP / 2
        child.pace.notified()
    assert not child.pace.steady


def test_it_does_not_beside_a_task_that_runs_for_long() -> None:
    child = Child()
    child.claim(1)
    [long] = child.in_flight.jobs()
    for _ in range(5 * ENOUGH):
        child.claim()
        child.in_flight.release(job for job in child.in_flight.jobs() if job is not long)
        child.pace.notified()
    assert not child.pace.steady


def test_single_calls_do_not() -> None:
    child = Child()
    child.overlap(5 * ENOUGH, count=1)
    assert not child.pace.steady


def test_a_notification_long_after_a_claim_tells_of_no_other_sender() -> None:
    """The tasks of the claim may take that long."""
    child = Child()
    child.overlap(5 * ENOUGH, after=2 * OVERLAP)
    assert not child.pace.steady


@pytest.mark.parametrize("others", [RARE - 1, RARE])
def test_overlaps_among_many_notifications(others: int) -> None:
    """Another child may have the tasks of the call before, so that this one sees no overlap."""
    child = Child()
    for _ in range(RARE * ENOUGH):
        child.overlap(1)
        for _ in range(others):
            child.claim()
            child.store()
            child.pace.notified()
    assert child.pace.steady == (others < RARE)


def test_claims_of_nothing_end_it() -> None:
    child = Child()
    child.overlap(5 * ENOUGH)
    child.claim()
    for _ in range(5 * ENOUGH):
        child.claim(0)
        child.claim(1)
    assert child.pace.steady, "each second claim has a task"
    for _ in range(ENOUGH):
        child.claim(0)
    assert not child.pace.steady
    child.claim()
    assert not child.pace.steady, "it begins anew"
