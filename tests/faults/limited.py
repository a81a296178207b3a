"""Plays with limits: each ends well, and each counts on one of the statements that take or give back a slot."""

from __future__ import annotations

import json
import time

from lavoro.protocol.message import Job
from lavoro.protocol.place import Place
from lavoro.store.workers import Ending
from tests.faults.stage import Stage


def send(stage: Stage, count: int, *, most: int = 1) -> None:
    """Send so many tasks of one key."""
    place = Place(keys=json.dumps({"limits": {"tenant": {"running": most}}}))
    for _ in range(count):
        stage.send(place=place, detail={"limits": {"tenant": most}, "expect": ["SUCCESS"]})


def begun(stage: Stage, worker: int) -> list[tuple[Job, str]]:
    """Claim what may run, and start it."""
    return [(job, stage.start(job, worker)) for job in stage.claim(worker)]


def end(stage: Stage, worker: int, running: list[tuple[Job, str]]) -> None:
    """End tasks one by one; each has shown a sign of life until then."""
    for job, token in running:
        time.sleep(0.001)  # so that starts which overlap do so for a time that can be seen
        stage.beat(job, token)
        stage.finish(worker, job, stage.end(job, token))


def run_all(stage: Stage) -> None:
    """Run what may run until nothing more comes."""
    worker = stage.worker()
    while running := begun(stage, worker):
        end(stage, worker, running)


def one_after_the_other(stage: Stage) -> None:
    """Two workers and a limit of one."""
    send(stage, 3)
    one, other = stage.worker(), stage.worker()
    first = begun(stage, one)
    second = begun(stage, other)
    end(stage, one, first)
    end(stage, other, second)
    run_all(stage)


def one_of_two_ends(stage: Stage) -> None:
    """A slot of two is given back while the other is taken, and others come."""
    send(stage, 2, most=2)
    worker = stage.worker()
    first, second = begun(stage, worker)
    end(stage, worker, [first])
    send(stage, 3, most=2)
    more = begun(stage, worker)
    end(stage, worker, [second, *more])
    run_all(stage)


def together(stage: Stage) -> None:
    """Two tasks end in one batch, and two are held."""
    send(stage, 4, most=2)
    worker = stage.worker()
    running = begun(stage, worker)
    stage.finish_all(worker, [(job, stage.end(job, token)) for job, token in running], tx=stage.tx)
    run_all(stage)


def tried_again(stage: Stage) -> None:
    """The task that has the slot is tried again, while another is held."""
    send(stage, 2)
    worker = stage.worker()
    [(job, _)] = begun(stage, worker)
    stage.retry(worker, job)
    run_all(stage)


def lost(stage: Stage) -> None:
    """The worker of the task that has the slot is lost, while another is held."""
    send(stage, 2)
    worker = stage.worker()
    [(job, token)] = begun(stage, worker)
    stage.beat(job, token)
    stage.rescue(worker, Ending.expired("it was lost"))
    stage.make_due()
    run_all(stage)
