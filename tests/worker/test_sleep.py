"""The agreement between a claimer and its supervisor, by itself."""

from __future__ import annotations

import math

from lavoro.worker.child.sleep import QUICK, SLEEPING, WHILE_BUSY, Sleep, State
from tests.worker.clock import Clock

POLL = 1.0


class Claimer:
    """Sleeps by a clock of its own; ``asked`` is what the supervisor hears."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.asked: list[bool] = []
        self.sleep = Sleep(self.asked.append, poll_interval=POLL, clock=self.clock)

    def tired(self, settled: float = -math.inf) -> float:
        """Return the first pause that is not a short one."""
        return [self.sleep.pause(settled) for _ in range(len(QUICK) + 1)][-1]


def test_it_asks_once_and_sleeps_when_that_is_confirmed() -> None:
    claimer = Claimer()
    for _ in range(2):
        claimer.sleep.begin()
    assert (claimer.asked, claimer.sleep.state) == ([True], State.ASKED)
    claimer.sleep.confirm()
    assert claimer.sleep.state is State.LISTENING
    for _ in range(2):
        claimer.sleep.end()
    assert (claimer.asked, claimer.sleep.state) == ([True, False], State.AWAKE)


def test_an_answer_that_comes_after_it_woke_up_does_not_make_it_sleep() -> None:
    claimer = Claimer()
    claimer.sleep.begin()
    claimer.sleep.end()
    claimer.sleep.confirm()
    assert claimer.sleep.state is State.AWAKE
    claimer.sleep.begin()
    assert claimer.asked == [True, False, True]


def test_it_does_not_ask_again_where_the_supervisor_lost_its_connection() -> None:
    """The supervisor remembers the wish, and confirms when it listens again."""
    claimer = Claimer()
    claimer.sleep.begin()
    claimer.sleep.confirm()
    claimer.sleep.lost()
    claimer.sleep.begin()
    assert (claimer.asked, claimer.sleep.state) == ([True], State.ASKED)
    claimer.sleep.confirm()
    assert claimer.sleep.state is State.LISTENING


def test_pauses_get_longer_while_no_task_comes() -> None:
    claimer = Claimer()
    assert [claimer.sleep.pause(-math.inf) for _ in range(5)] == [*QUICK, POLL, POLL]
    claimer.sleep.worked()
    assert claimer.sleep.pause(-math.inf) == QUICK[0]


def test_it_sleeps_long_after_a_scan_that_can_have_missed_nothing() -> None:
    """A sender who saw no sleeping worker may commit up to a poll interval after the supervisor began to listen."""
    claimer = Claimer()
    claimer.sleep.begin()
    listening_since = claimer.clock.now
    claimer.sleep.confirm()
    assert claimer.tired() == POLL
    assert claimer.tired(listening_since + POLL - 0.01) == POLL
    assert claimer.tired(listening_since + POLL) == POLL * SLEEPING
    claimer.sleep.lost()
    assert claimer.tired(math.inf) == POLL


def test_notifications_cover_a_scan_for_a_while() -> None:
    """Soon after the start of listening for as long as while busy, later for half a poll interval."""
    claimer = Claimer()
    assert not claimer.sleep.covers(claimer.clock.now)
    claimer.sleep.begin()
    claimer.sleep.confirm()
    for enough in (WHILE_BUSY, POLL / 2):
        scanned = claimer.clock.now
        claimer.clock.now = scanned + enough - 0.01
        assert claimer.sleep.covers(scanned)
        claimer.clock.now = scanned + enough + 0.01
        assert not claimer.sleep.covers(scanned)
        claimer.clock.now = scanned + POLL
