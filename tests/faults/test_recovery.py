"""The five scenarios of the public comparison of PostgreSQL queues, and how soon the work goes on after each."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import psutil
import psycopg
import pytest

from tests.faults.producer import Producer
from tests.faults.test_server import BACK, FAILED, OURS, SLACK
from tests.faults.trial import Trial
from tests.postgres import Cluster

pytestmark = pytest.mark.slow

LEASE = 4.0
TASKS = 40
"""Sent in each phase, before and after each fault."""
RATIO = 0.98
MAX_CRASHES = 20


def completed(trial: Trial, producer: Producer) -> float:
    """Send some tasks; return which part of them is over in good time."""
    ids = [producer.send("echo", number, 0.02) for number in range(TASKS)]
    listed = ", ".join(f"'{id}'" for id in ids)
    query = f"select count(*) from lavoro.finished where id in ({listed})"
    with contextlib.suppress(AssertionError):
        trial.until(lambda: trial.rows(query) == [(TASKS,)], why="they are over", timeout=30)
    return float(trial.rows(query)[0][0]) / TASKS


def test_five_scenarios(own_trial: Trial, own_cluster: Cluster) -> None:
    """Of what is sent after each fault at least 98 % as much is done as of what was sent before; nobody helps."""
    dice = random.Random(own_trial.seed)
    own_cluster.execute("alter system set max_connections = 30")
    own_cluster.restart()
    # Chance may have one task meet three of the kills.
    patient = {"lavoro_max_crashes": MAX_CRASHES}
    first = own_trial.worker("-c", "4", "-n", "first", lease=LEASE, settings=patient)
    second = own_trial.worker("-c", "4", "-n", "second", lease=LEASE, settings=patient)
    producer = own_trial.producer()

    def database_restart() -> None:
        own_cluster.restart("immediate")
        own_trial.promise(BACK + SLACK, "the first task after the database's restart")

    def backend_kill() -> None:
        own_trial.rows(f"select pg_terminate_backend(pid) from ({OURS}) ours")

    def pool_exhaustion() -> None:
        hoard, before = list[psycopg.Connection](), first.log.count(FAILED)
        own_trial.rows(f"select pg_terminate_backend(pid) from ({OURS}) ours")
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                hoard.append(psycopg.connect(own_cluster.url(), autocommit=True))
        own_trial.until(lambda: first.log.count(FAILED) > before, why="a worker has noticed")
        for connection in hoard:
            connection.close()

    def replaced(dead: psutil.Process) -> bool:
        return dead not in (*first.children, *second.children) and bool(first.children and second.children)

    def repeated_kills() -> None:
        for _ in range(4):
            doomed = dice.choice([*first.children, *second.children])
            doomed.kill()
            own_trial.until(lambda doomed=doomed: replaced(doomed), why="another is there")

    def replica_killed() -> None:
        second.destroy()
        own_trial.promise(LEASE + 5 + SLACK, "the tasks of the dead node", id=held)
        own_trial.open_gate()  # others like it may fill the slots of the node that lives

    scenarios: list[Callable[[], None]] = [
        database_restart, backend_kill, pool_exhaustion, repeated_kills, replica_killed,
    ]  # fmt: skip
    held = ""
    for scenario in scenarios:
        before = completed(own_trial, producer)
        if scenario is replica_killed:
            held = hold_on(own_trial, producer, second.children[0].pid)
        for number in range(10):
            producer.send("echo", number, 0.3)  # these are under way when it happens
        scenario()
        after = completed(own_trial, producer)
        assert after >= RATIO * before > 0, f"{scenario.__name__}: {before:.0%} before, {after:.0%} after"
    own_trial.drain()
    assert first.process.poll() is None
    own_trial.stop()
    own_trial.verify(slots=4, max_crashes=MAX_CRASHES)


def hold_on(trial: Trial, producer: Producer, pid: int) -> str:
    """Have the process run a task that does not end; return the task's id."""
    while True:
        id = producer.send("hold", trial.gate)
        trial.until(lambda id=id: trial.starts(id), why="it runs")
        if trial.starts(id)[0].pid == pid:
            return id
