"""The counts of ended tasks: children tell them once a second at most, and the supervisor logs each busy minute."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from lavoro.protocol import outcome
from lavoro.worker.child.tally import EVERY, Tally
from lavoro.worker.supervisor.activity import LOAD, MINUTE, Activity
from tests.worker.clock import Clock
from tests.worker.test_capacity import jobs


class Board:
    """A scoreboard of three slots, two of which run a task."""

    slots = 3

    def entries(self) -> list[int]:
        return [1, 2]


class Children:
    """Two ready children: one has no lease yet."""

    def __init__(self) -> None:
        self.ready = [self.child(Board()), self.child(None)]

    def child(self, scoreboard: Board | None) -> Any:
        return type("Child", (), {"scoreboard": scoreboard})()


def test_a_child_tells_once_a_second() -> None:
    clock, told = Clock(), []
    tally = Tally(lambda ended, seconds: told.append((ended, seconds)), clock)
    tally.check()
    assert told == [], "nothing has ended"
    [one, two, three, four] = [job._replace(name="add", retries=0) for job in jobs(4)]
    tally.add([outcome.succeeded(one, None, 0.5), outcome.retrying(two), outcome.released(three)])
    tally.check()
    assert told.pop() == ([["add", "SUCCESS", 1], ["add", "RETRY", 1]], 0.5)
    tally.add([outcome.failed(four, "{}", None, 0.25)])
    tally.check()
    assert told == [], "a second has not passed"
    clock.now += EVERY
    tally.check()
    assert told.pop() == ([["add", "FAILURE", 1]], 0.25)
    tally.add([outcome.ignored(one, 0.0)])
    tally.flush()
    assert told.pop() == ([["add", "IGNORED", 1]], 0.0)


def test_a_busy_minute_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    children: Any = Children()
    clock = Clock()
    activity = Activity(children, clock)
    caplog.set_level(logging.INFO, "lavoro.worker")
    activity.add({"ended": [["add", "SUCCESS", 2000], ["add", "IGNORED", 1], ["mail", "RETRY", 3]], "seconds": 4.002})
    activity.check()
    assert not caplog.messages, "the minute is not over"
    clock.now += MINUTE
    activity.check()
    line = "in 60 s: 2,004 tasks ended, 33.4 a second (2,000 SUCCESS, 3 RETRY, 1 IGNORED), 2.0 ms each;"
    assert caplog.messages == [f"{line} 2 of 3 slots busy"]
    activity.add({"ended": [["add", "SUCCESS", LOAD - 1]], "seconds": 0.1})
    clock.now += MINUTE
    activity.check()
    assert len(caplog.messages) == 1, "there was no load"
    assert activity.total == {"add": 2000 + 1 + LOAD - 1, "mail": 3}
