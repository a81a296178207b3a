"""A pool's queue: the most urgent first, in order among equals, and nothing lost when jobs are taken back."""

from __future__ import annotations

import datetime as dt
import threading

from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Job
from lavoro.worker.child.pools.base import OVERDUE
from lavoro.worker.child.pools.threads import ThreadPool


def job(name: str, priority: int = 0) -> Job:
    now = dt.datetime.now(dt.timezone.utc)
    return Job(uuid7(), name, "[]", None, None, None, "celery", priority, 1, 0, 0, now, None, False, False)


class Slot:
    """One slot that waits at a gate in its first job, so that the order of the others can be arranged."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.entered, self.gate, self.last = threading.Event(), threading.Event(), threading.Event()
        self.pool = ThreadPool(1, self.run)
        self.pool.start()
        self.pool.add([job("first")])
        assert self.entered.wait(30)

    def run(self, job: Job, slot: int, call: object) -> None:
        self.ran.append(job.name)
        if job.name == "first":
            self.entered.set()
            assert self.gate.wait(30)
        if job.name == "last":
            self.last.set()


def test_urgent_jobs_overtake_and_equals_keep_their_order() -> None:
    slot = Slot()
    slot.pool.add([job("a"), job("b"), job("last", -1)])
    slot.pool.add([job("urgent", 9), job("urgent too", 9)])
    slot.gate.set()
    assert slot.last.wait(30)
    assert slot.ran == ["first", "urgent", "urgent too", "a", "b", "last"]


def test_what_is_taken_back_does_not_run_and_later_jobs_do() -> None:
    slot = Slot()
    slot.pool.add([job("a"), job("b")])
    assert [taken.name for taken in slot.pool.take_back()] == ["a", "b"]
    assert (slot.pool.waiting, slot.pool.outstanding) == (0, 1)
    slot.pool.add([job("last")])
    slot.gate.set()
    assert slot.last.wait(30)
    assert slot.ran == ["first", "last"]


def test_what_waits_for_long_is_overdue_though_tasks_end() -> None:
    """And what came later is not, nor what is more urgent."""
    slot = Slot()
    slot.pool.add([job("a"), job("b", 9)])
    assert [slot.pool.take_back_overdue() for _ in range(OVERDUE)] == [[]] * OVERDUE
    slot.pool.add([job("c"), job("last", -1)])
    assert [taken.name for taken in slot.pool.take_back_overdue()] == ["b", "a"]
    assert slot.pool.waiting == 2
    slot.gate.set()
    assert slot.last.wait(30)
    assert slot.ran == ["first", "c", "last"]
    assert [slot.pool.take_back_overdue() for _ in range(OVERDUE + 1)] == [[]] * (OVERDUE + 1)


def test_stopping_lets_what_waits_run_first() -> None:
    slot = Slot()
    slot.pool.stop()
    slot.pool.add([job("last")])
    slot.gate.set()
    assert slot.last.wait(30)


def test_the_run_gets_what_was_made_of_its_job_at_receipt() -> None:
    got: list[tuple[str, object]] = []
    ended = threading.Event()

    def run(job: Job, slot: int, call: object) -> None:
        got.append((job.name, call))
        if job.name == "last":
            ended.set()

    pool = ThreadPool(1, run, received=lambda jobs: [each.name.upper() for each in jobs])
    pool.add([job("a"), job("urgent", 9), job("last", -1)])
    pool.start()
    assert ended.wait(30)
    assert got == [("urgent", "URGENT"), ("a", "A"), ("last", "LAST")]
    pool.stop()


def test_room_is_told_of_once_the_slot_is_free() -> None:
    """A claimer that counted the slot as taken would wait for ever: nothing else tells it."""
    told: list[int] = []
    ended = threading.Event()
    pool = ThreadPool(1, lambda job, slot, call: None)

    def room_made() -> None:
        told.append(pool.outstanding)
        ended.set()

    pool.room_made = room_made
    pool.start()
    pool.add([job("only")])
    assert ended.wait(30)
    assert told == [0]
    pool.stop()
