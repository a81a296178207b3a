"""Scenarios: each goes well as it is, and shows its mutant's bug to the checker."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.faults.observer import Observer, watch_quietly
from tests.faults.plugin.rig_changes import FINISH
from tests.faults.proxy import Proxy
from tests.faults.trial import Trial
from tests.faults.violation import Violation

Scenario = Callable[..., list[Violation]]
POLL = 0.3
"""Seconds of `lavoro_poll_interval` where a notification is lost."""
RESTING = 15
"""How many poll intervals a worker rests that is told of new tasks: fewer than usual, for a test waits for it."""
RESTS = {"lavoro.worker.child.sleep.SLEEPING": RESTING}


def settle(trial: Trial, patience: float) -> None:
    """Wait until all is over; with a mutant it may never be."""
    with suppress(AssertionError):
        trial.drain(patience)
    trial.stop()


def lost_answers(trial: Trial, *, patience: float = 60, **rig: Any) -> list[Violation]:
    """Answers of statements are lost, a few of each: of claims, finishes, returns."""
    points = [
        {"statement": "claim_tasks", "kind": "after", "rows": 1, "skip": 3, "times": 2},
        {"statement": FINISH, "kind": "after", "skip": 1, "times": 2},
        {"statement": FINISH, "kind": "before", "skip": 6, "times": 2},
        {"statement": "requeue_tasks", "kind": "after", "times": 1},
    ]
    trial.worker("-c", "4", points=points, **rig)
    producer = trial.producer(kinds=("plain", "retry", "many", "eta"))
    producer.pause = 0.01
    for _ in range(60):
        producer.operate()
        time.sleep(0.01)
    settle(trial, patience)
    return trial.violations(slots=4)


def partition(trial: Trial, **rig: Any) -> list[Violation]:
    """A node loses its database without being told; another takes over what it ran."""
    with Proxy(port_of(trial.url)) as proxy:
        trial.worker("-c", "2", "-n", "lost", lease=3, url=proxy.url(trial.url), **rig)
        id = trial.producer().send("hold", trial.gate)
        trial.until(lambda: trial.starts(id), why="it runs")
        trial.worker("-c", "2", "-n", "heir", lease=3)
        trial.promise(3 + 5, "a task of a node that is cut off", id=id)
        cut_off = time.monotonic()
        proxy.swallow("up", "down")
        trial.until(lambda: len(trial.starts(id)) > 1, why="another takes it over")
        # A node that does not fence itself would go on.
        until(max(cut_off + 4, time.monotonic() + 0.5))
        proxy.heal()
        trial.open_gate()
        trial.drain()
        trial.stop()
        return trial.violations(slots=2)


def lost_notifications(trial: Trial, **rig: Any) -> list[Violation]:
    """Nobody tells a resting worker of new tasks."""
    trial.worker("-c", "2", settings={"lavoro_poll_interval": POLL}, constants=RESTS, **rig)
    resting = "select 1 from pg_locks where locktype = 'advisory' and mode = 'ShareLock' and granted"
    trial.until(lambda: trial.rows(resting), why="it rests")
    for number in range(3):
        id = str(uuid.uuid4())
        trial.ledger.write("intent", id=id, expect=["SUCCESS"])
        trial.promise(RESTING * POLL + 2, "a task nobody was told of", id=id)
        trial.rows(
            f"insert into lavoro.waiting (id, queue, name, args) values ('{id}', 'celery', 'echo', '[{number}]')"
        )
        trial.ledger.write("outcome", id=id, outcome="ok")
        with suppress(AssertionError):
            trial.until(lambda id=id: trial.starts(id), why="it is found", timeout=RESTING * POLL + 2)
    settle(trial, 5)
    return trial.violations()


def more_work_than_slots(trial: Trial, **rig: Any) -> list[Violation]:
    """A worker has more to do than room."""
    trial.worker("-c", "2", **rig)
    producer = trial.producer()
    for number in range(12):
        producer.send("echo", number, 0.1)
    settle(trial, 30)
    return trial.violations(slots=2, fault_free=True)


def outage(trial: Trial, **rig: Any) -> list[Violation]:
    """The server refuses everybody for a while, and takes them again."""
    with Proxy(port_of(trial.url)) as proxy:
        worker = trial.worker("-c", "2", url=proxy.url(trial.url), **rig)
        producer = trial.producer()
        producer.send("echo", 0)
        trial.drain()
        proxy.refuse()
        watch_quietly(
            trial.ledger, trial.processes(), "the database is away", seconds=3, accepted=lambda: proxy.accepted
        )
        waiting = producer.send("echo", 1)
        trial.promise(4, "the first task after the database is back", id=waiting)
        proxy.heal()
        trial.drain()
        assert worker.process.poll() is None
        trial.stop()
    return trial.violations(attempts_per_second=12.0)


def steady_work(trial: Trial, **rig: Any) -> list[Violation]:
    """A worker does this and that; the connections it holds are those that are promised."""
    trial.worker("-c", "4", **rig)
    producer = trial.producer(kinds=("plain", "retry"))
    with Observer(trial.url, trial.ledger, trial.processes, interval=0.05):
        for _ in range(50):
            producer.operate()
            time.sleep(0.01)
        settle(trial, 30)
    return trial.violations(connections=4)


def slow_tasks(trial: Trial, **rig: Any) -> list[Violation]:
    """Tasks take their time."""
    trial.worker("-c", "2", **rig)
    for number in range(4):
        trial.producer().send("echo", number, 0.2)
    settle(trial, 30)
    return trial.violations()


def left_behind(trial: Trial, **rig: Any) -> list[Violation]:
    """A child dies whose descriptors live on in a process that a task has forked."""
    first = trial.worker("-P", "threads", "-c", "1", **rig)
    producer = trial.producer()
    producer.send("leave")
    trial.drain()
    [[daemon]] = trial.rows("select (result->>'payload')::int from lavoro.finished")
    try:
        id = producer.send("hold", trial.gate)
        trial.until(lambda: trial.starts(id), why="it runs")
        trial.promise(5, "a task of a dead child", id=id)
        os.kill(trial.starts(id)[0].pid, signal.SIGKILL)
        with suppress(AssertionError):
            trial.until(lambda: len(trial.starts(id)) > 1, why="it runs again", timeout=10)
        trial.open_gate()
        if len(trial.starts(id)) == 1:
            first.destroy()
        settle(trial, 5)
    finally:
        os.kill(daemon, signal.SIGKILL)
    return trial.violations()


def forks(trial: Trial, **rig: Any) -> list[Violation]:
    """Tasks fork processes that return from them while others wait in the pool: all are sent before it starts."""
    producer = trial.producer()
    for number in range(120):
        producer.send("echo", number)
        if number % 4 == 3:
            producer.send("fork_and_return")
    trial.worker("-P", "threads", "-c", "2", **rig)
    settle(trial, 30)
    return trial.violations()


def until(moment: float) -> None:
    """Wait for a moment of the monotonic clock."""
    time.sleep(max(0.0, moment - time.monotonic()))


def port_of(url: str) -> int:
    """The port in a URL of the test server."""
    return int(url.rsplit(":", 1)[1].split("/")[0])
