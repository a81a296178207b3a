"""How many tasks a child may claim: free slots, and what will soon be free."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from lavoro.protocol.message import Job
from lavoro.worker.child.capacity import AHEAD, BATCH, FEW, LATE, PATIENT, SOON, SURE, Capacity
from lavoro.worker.child.in_flight import InFlight
from lavoro.worker.child.offers import Offers
from lavoro.worker.child.pools.threads import ThreadPool
from tests.worker.clock import Clock

SLOTS = 10


def jobs(count: int) -> list[Job]:
    values: list[Any] = [None] * len(Job._fields)
    return [Job(*values)._replace(id=uuid.uuid4(), priority=0) for _ in range(count)]


class Child:
    """What a child holds, without slots that run and without a database."""

    def __init__(self, prefetch: int = 500) -> None:
        self.clock = Clock()
        self.pool, self.in_flight = ThreadPool(SLOTS, lambda job, slot, call: None), InFlight()
        offers = Offers(self.in_flight, worker_id=1, slots=SLOTS)
        self.capacity = Capacity(self.pool, self.in_flight, offers, prefetch=prefetch, clock=self.clock)

    def claim(self, count: int, *, seconds: float = 0.0, limit: int = BATCH) -> None:
        """Have a claim bring so many jobs."""
        began = self.clock()
        self.clock.now += seconds
        claimed = jobs(count)
        self.in_flight.add(claimed)
        self.pool.add(claimed)
        self.capacity.claimed(count, limit=limit, began=began)

    def run(self) -> None:
        """Run all that waits, and store its outcomes."""
        self.in_flight.release(self.pool.take_back())


def test_the_room_is_the_free_slots_at_first() -> None:
    child = Child()
    child.claim(3)
    assert child.capacity.room() == child.capacity.free == SLOTS - 3


@pytest.mark.parametrize(("prefetch", "ahead"), [(500, 100), (40, 40), (0, 0)])
def test_short_tasks_are_claimed_ahead(prefetch: int, ahead: int) -> None:
    """As many as end in AHEAD, and no more than the setting allows."""
    child = Child(prefetch)
    child.claim(100)
    child.run()
    child.clock.now += AHEAD
    assert child.capacity.room() == pytest.approx(SLOTS + ahead, abs=1)


@pytest.mark.parametrize(("ended", "ahead"), [(1, 0), (SLOTS, 0), (2 * SLOTS, round(SLOTS / SURE * AHEAD))])
def test_the_rate_is_known_early_where_each_slot_has_ended_two_tasks(ended: int, ahead: int) -> None:
    """Fewer ends may be those of tasks that all began at once, and are long."""
    child = Child()
    child.claim(ended)
    child.run()
    child.clock.now += 2 * SURE
    assert child.capacity.room() == pytest.approx(SLOTS + ahead, abs=1)


def test_a_rate_falls_slowly_and_at_once_when_tasks_got_long() -> None:
    child = Child()
    child.claim(100)
    child.run()
    child.clock.now += AHEAD
    child.capacity.room()
    child.clock.now += AHEAD
    assert child.capacity.room() == pytest.approx(SLOTS + 80, abs=1)
    child.capacity.prefetch_less()
    assert child.capacity.room() == SLOTS


def test_there_is_no_room_while_storing_outcomes_falls_behind() -> None:
    child = Child()
    child.in_flight.add(jobs(2 * BATCH + 1))
    assert child.capacity.room() == 0


@pytest.mark.parametrize(
    ("cost", "pause"), [(0.0, SOON), (0.02, PATIENT * 0.02 - 0.02), (1.0, 0.0)], ids=["cheap", "dear", "very dear"]
)
def test_a_full_child_waits_for_more_room(cost: float, pause: float) -> None:
    """For some times what the last claim took, which began that long ago; never longer than LATE."""
    assert LATE < 1.0
    child = Child()
    child.claim(SLOTS - 1, seconds=cost)
    assert child.capacity.room() == 1
    assert child.capacity.wait_for_more(1) == pytest.approx(pause)
    assert child.capacity.blocked == (pause > 0)


def test_a_child_with_nothing_that_waits_claims_at_once() -> None:
    child = Child()
    child.claim(1)
    child.run()
    assert child.capacity.wait_for_more(child.capacity.room()) == 0
    assert not child.capacity.blocked


def test_full_rounds_are_counted_until_one_is_not_full() -> None:
    child = Child()
    for full_rounds in (1, 2):
        child.claim(5, limit=5)
        assert child.capacity.full_rounds == full_rounds
    child.claim(4, limit=5)
    assert child.capacity.full_rounds == 0


def end(child: Child, count: int) -> None:
    """Let tasks end whose outcomes are not stored yet."""
    assert len(child.pool.take_back()) == count


def test_after_a_claim_of_few_tasks_the_next_one_waits_until_outcomes_are_stored() -> None:
    child = Child()
    child.claim(FEW - 1)
    end(child, FEW - 1)
    assert child.capacity.wait_for_more(child.capacity.room()) == SOON
    assert child.capacity.blocked, "the storing of the outcomes wakes the claimer"
    child.in_flight.release(child.in_flight.jobs())
    assert child.capacity.wait_for_more(child.capacity.room()) == 0
    assert not child.capacity.blocked


def test_it_waits_no_longer_than_a_moment() -> None:
    child = Child()
    child.claim(1)
    end(child, 1)
    child.clock.now += SOON
    assert child.capacity.wait_for_more(child.capacity.room()) == 0


@pytest.mark.parametrize(("count", "limit"), [(1, 1), (FEW, BATCH)], ids=["more may wait", "many"])
def test_other_claims_follow_at_once(count: int, limit: int) -> None:
    child = Child()
    child.claim(count, limit=limit)
    end(child, count)
    assert child.capacity.wait_for_more(child.capacity.room()) == 0


def test_tasks_that_run_are_not_waited_for() -> None:
    child = Child()
    child.claim(1)
    assert child.capacity.wait_for_more(child.capacity.room()) == 0
