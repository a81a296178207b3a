"""Which lanes a claimer knows, where a claim begins in each, and when the next scan is due; without a database."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest

from lavoro.protocol.message import Job
from lavoro.store.tasks import Lane
from lavoro.worker.child.lanes import CHEAP, COST_RATIO, EVERYTHING, LAG, REMEMBERED, SWEEP, LaneScanner
from tests.worker.clock import Clock

DUE = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)
MANY = 50


class Claimer:
    """Scans and claims by a clock of its own; what it finds is what the test says."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.scanner = LaneScanner(["celery", "other"], self.clock)

    def scan(self, *found: tuple[str, int, float], seconds: float = 0.0) -> bool:
        """Scan in so many seconds; tell whether to claim again at once."""
        assert self.scanner.begin() == ["celery", "other"]
        self.clock.now += seconds
        return self.scanner.end(found)

    def claim(self, *jobs: tuple[str, int, dt.datetime]) -> list[Lane]:
        """Claim jobs; return the lanes of that claim."""
        values: list[Any] = [None] * len(Job._fields)
        lanes = self.scanner.next_claim(self.clock())
        self.scanner.claimed([Job(*values)._replace(queue=q, priority=p, due=due) for q, p, due in jobs])
        return lanes

    def due(self, claimed: int = 0, *, covered: bool = True) -> bool:
        """Whether a scan is due after a claim of so many."""
        return self.scanner.due(claimed, covered=covered, many=MANY)


@pytest.fixture
def claimer() -> Claimer:
    return Claimer()


def names(lanes: list[Lane]) -> list[tuple[str, int]]:
    return [(lane.queue, lane.priority) for lane in lanes]


def test_lanes_are_claimed_by_priority_and_then_in_the_order_of_the_queues(claimer: Claimer) -> None:
    assert claimer.claim() == []
    claimer.scan(("other", 3, 0.0), ("celery", 3, 0.0), ("other", 9, 0.0))
    assert names(claimer.claim()) == [("other", 9), ("celery", 3), ("other", 3)]
    assert ("celery", 3) in claimer.scanner.lanes


def test_a_lane_is_known_for_a_while_after_its_last_task(claimer: Claimer) -> None:
    claimer.scan(("celery", 0, 0.0))
    claimer.clock.now += REMEMBERED - 1
    claimer.scan(("other", 0, 0.0))
    assert names(claimer.claim()) == [("celery", 0), ("other", 0)]
    claimer.clock.now += 1
    claimer.scan()
    assert names(claimer.claim()) == [("other", 0)]


def test_a_claim_begins_where_the_last_one_was_and_sometimes_below(claimer: Claimer) -> None:
    claimer.scan(("celery", 0, 0.0))
    [whole] = claimer.claim(("celery", 0, DUE), ("celery", 0, DUE + dt.timedelta(seconds=5)))
    [a_second_back] = claimer.claim()
    [bound] = claimer.claim()
    assert whole.bound == EVERYTHING
    assert a_second_back.bound == DUE - dt.timedelta(seconds=1) - LAG
    assert bound.bound == DUE - LAG
    claimer.clock.now += SWEEP
    assert [lane.bound for lane in claimer.claim()] == [EVERYTHING]


def test_bounds_that_were_forgotten_during_a_claim_stay_forgotten(claimer: Claimer) -> None:
    """A notification of a task that came back arrives in another thread."""
    claimer.scan(("celery", 0, 0.0))
    claimer.claim()
    claimer.claim()
    lanes = claimer.scanner.lanes
    values: list[Any] = [None] * len(Job._fields)
    claimer.scanner.next_claim(claimer.clock())
    lanes.forget_bounds()
    claimer.scanner.claimed([Job(*values)._replace(queue="celery", priority=0, due=DUE)])
    assert [lane.bound for lane in claimer.claim()] == [EVERYTHING]


def test_a_scan_is_due_at_first_and_where_notifications_do_not_tell_of_new_lanes(claimer: Claimer) -> None:
    assert claimer.due()
    claimer.scan()
    assert not claimer.due()
    assert claimer.due(covered=False)
    assert not claimer.due(1, covered=False)
    claimer.scanner.require()
    assert claimer.due(1)


def test_a_scan_that_took_long_is_repeated_late(claimer: Claimer) -> None:
    """The cheaper one of the last two counts: one slow answer is no expensive scan."""
    claimer.scan(seconds=1.0)
    assert claimer.due(covered=False)
    claimer.scan(seconds=2.0)
    claimer.scanner.require()
    assert claimer.scanner.next_scan == pytest.approx(COST_RATIO * 1.0 - 2.0)
    claimer.clock.now += COST_RATIO * 1.0 - 2.1
    assert not claimer.due()
    claimer.clock.now += 0.1
    assert claimer.due()
    assert CHEAP < 1.0


def test_the_next_task_for_later_is_known(claimer: Claimer) -> None:
    claimer.scan(("celery", 0, 7.0), ("other", 0, 5.0))
    assert claimer.scanner.next_scan == pytest.approx(5.0)
    assert claimer.scanner.settled == claimer.scanner.scanned
    claimer.clock.now += 5.0
    assert claimer.scanner.next_scan <= 0
    assert claimer.scan(("celery", 0, 2.0), ("other", 0, -0.1))  # claim again at once: it is due now


def test_tasks_that_are_due_hide_when_the_next_one_is(claimer: Claimer) -> None:
    """So the claimer may not sleep long, and scans again unless it has much to do."""
    assert claimer.scan(("celery", 0, 0.0))  # a new lane
    assert claimer.scanner.settled == -math.inf
    assert claimer.due(MANY - 1)
    assert not claimer.due(MANY)
    claimer.claim(("celery", 0, DUE))
    claimer.claim(("celery", 0, DUE))
    assert not claimer.scan(("celery", 0, 0.0))  # of a known lane, and claimed as a whole just now


def test_nothing_is_settled_by_a_scan_before_the_last_claim(claimer: Claimer) -> None:
    claimer.scan()
    claimer.clock.now += 1
    claimer.claim()
    assert claimer.scanner.settled == -math.inf
    assert claimer.scanner.next_scan == math.inf
