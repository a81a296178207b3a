"""Tasks that block, leave things behind, send others, and rows that people have damaged."""

from __future__ import annotations

import json
import platform

import pytest

from tests.faults.observer import Observer
from tests.faults.plugin.rig_changes import FINISH
from tests.faults.trial import Trial, thorough

LEASE = 1.5


NEEDS_GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only its resolver is told whom to ask")
WAYS_TO_BURN = [
    pytest.param("loop", marks=thorough),
    pytest.param("scrypt", marks=thorough),
    pytest.param("getaddrinfo", marks=[NEEDS_GLIBC, pytest.mark.slow]),
    "sleep",
    pytest.param("json", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("how", WAYS_TO_BURN)
def test_blocked_loop_longer_than_the_lease(trial: Trial, how: str) -> None:
    """Row 43: in Python, in C without and with the interpreter's lock; it is told by what, and nothing starts twice."""
    blocked = trial.worker("-c", "3", "-n", "blocked", lease=LEASE)
    producer = trial.producer()
    held = producer.send("hold", trial.gate)
    trial.until(lambda: trial.starts(held), why="it runs")
    burning = producer.send("burn", how, 2 * LEASE)
    trial.worker("-c", "3", "-n", "other", lease=LEASE)
    trial.until(lambda: trial.rows(f"select 1 from lavoro.finished where id = '{burning}'"), why="it ends")
    blocked.until("recovered after")
    report = blocked.log.partition("has been blocked for")[2].partition("recovered after")[0]
    assert f" in in_{how}" in report
    trial.open_gate()
    trial.drain()
    trial.stop()
    trial.verify(slots=3, fault_free=True)


@pytest.mark.slow
def test_blocked_loop_at_the_hard_limit(trial: Trial) -> None:
    """Row 43: the culprit fails, its neighbours start once more, with a reason, and never at the same time."""
    trial.worker("-c", "3", settings={"task_time_limit": 2.0})
    producer = trial.producer()
    burning = producer.send("burn", "loop", 600.0, expect=("FAILURE",))
    neighbours = [producer.send("echo", number, 0.5) for number in range(4)]
    trial.drain()
    trial.stop()
    known = trial.verify(slots=3)
    stories = known.stories()
    assert "TimeLimitExceeded" in str(stories[burning].done[0].result)
    assert len(stories[burning].starts) == 1
    assert {len(stories[id].starts) for id in neighbours} <= {1, 2}


def test_heartbeats_that_fail(trial: Trial) -> None:
    """Row 45: a node that works and cannot renew ends its tasks before another may begin them."""
    points = [{"statement": "renew_leases", "kind": "before", "skip": 2}]
    id = trial.producer().send("hold", trial.gate)
    trial.worker("-c", "2", "-n", "zombie", lease=3, points=points)
    trial.until(lambda: trial.starts(id), why="it runs")
    trial.worker("-c", "2", "-n", "heir", lease=3)
    trial.until(lambda: len(trial.starts(id)) > 1, why="it runs elsewhere")
    trial.open_gate()
    trial.drain()
    trial.stop()
    trial.verify(slots=2, max_crashes=20)


@pytest.mark.slow
def test_locks_and_deadlocks(trial: Trial) -> None:
    """Row 22: statements that fail for a lock or a deadlock are tried again, and nothing is applied twice."""
    points = [
        {"kind": name, "rate": 0.1, "statement": statement}
        for statement in ("claim_tasks", *FINISH, "requeue_tasks", "discover_lanes", "renew_leases")
        for name in ("DeadlockDetected", "LockNotAvailable", "SerializationFailure")
    ]
    worker = trial.worker("-c", "4", points=points)
    producer = trial.producer(kinds=("plain", "retry", "many"))
    for _ in range(40):
        producer.operate()
    trial.drain()
    assert worker.process.poll() is None
    trial.stop()
    trial.verify(slots=4)


def test_every_answer_may_be_lost(trial: Trial) -> None:
    """Row 11: five in a hundred, of every statement, before and after it has been committed."""
    points = [{"kind": kind, "rate": 0.05} for kind in ("before", "after")]
    points.append({"kind": "delay", "rate": 0.05, "seconds": 0.05})
    trial.worker("-c", "4", "--processes", "2", lease=20, points=points)
    producer = trial.producer()
    for _ in range(80):
        producer.operate()
    trial.drain()
    trial.stop()
    trial.verify(slots=4)


@pytest.mark.slow
def test_tasks_that_send_tasks_through_one_connection(trial: Trial) -> None:
    """Row 26: fifty at a time share a pool of one; claims, finishes and leases have connections of their own."""
    trial.worker("-c", "50", lease=5, settings={"broker_pool_limit": 1, "broker_connection_timeout": 30})
    producer = trial.producer()
    with Observer(trial.url, trial.ledger, trial.processes):
        for _ in range(50):
            producer.send("spawn", 4)
        trial.drain()
    trial.stop()
    known = trial.verify(slots=50, fault_free=True)
    assert len(known.done) == 50 * 5


@pytest.mark.slow
def test_damaged_rows(trial: Trial) -> None:
    """Row 39: what a person has damaged is set aside with its reason or refused; the others go on."""
    producer = trial.producer()
    damages = {
        "args": 'args = \'{"not": "a list"}\'',
        "number": "args = '12'",
        "kwargs": "kwargs = '[1]'",
        "options": "options = '[]'",
        "serializer": "payload = 'x', args = null, options = '{\"content_type\": \"application/x-unknown\"}'",
    }
    damaged = {}
    for name, change in damages.items():
        damaged[name] = producer.send("echo", name, expect=("FAILURE", "REJECTED"))
        trial.rows(f"update lavoro.waiting set {change} where id = '{damaged[name]}'")
    for change in ("attempt = -1", "retries = -1", "queue = ''", "name = ''", "due = '-infinity'"):
        with pytest.raises(Exception, match="check constraint"):
            trial.rows(f"update lavoro.waiting set {change}")
    others = [producer.send("echo", number) for number in range(10)]
    worker = trial.worker("-c", "2")
    trial.drain()
    trial.stop()
    assert worker.process.returncode == 0
    stories = trial.verify(slots=2).stories()
    for name, id in damaged.items():
        [done] = stories[id].done
        assert done.result, name
    assert {stories[id].done[0].state for id in others} == {"SUCCESS"}


@pytest.mark.slow
def test_garbage_left_behind(trial: Trial) -> None:
    """Row 50: an open transaction with its settings and context variables of one task do not reach the next."""
    trial.worker("-P", "solo", "--max-tasks-per-child", "4")
    producer = trial.producer()
    clean = producer.send("probe")
    trial.drain()
    producer.send("litter")
    probed = producer.send("probe")
    trial.drain()
    last = [producer.send("probe") for _ in range(3)]
    trial.drain()
    trial.stop()
    stories = trial.verify(slots=1, fault_free=True).stories()
    seen = {id: stories[id].done[0].result["payload"] for id in (clean, probed, *last)}
    kept = ("context", "transaction", "search_path", "task")
    assert {name: seen[probed][name] for name in kept} == {name: seen[clean][name] for name in kept}
    # What belongs to the process stays until the process is replaced; then all is as at first.
    assert json.dumps(seen[last[-1]], sort_keys=True) == json.dumps(seen[clean], sort_keys=True)


@pytest.mark.slow
def test_forked_children_share_nothing(trial: Trial) -> None:
    """Row 48: what a task forks has connections of its own, and leaves those of the worker alone."""
    trial.worker("-P", "solo")
    producer = trial.producer()
    id = producer.send("fork")
    trial.drain()
    producer.send("echo", "after")
    trial.drain()
    trial.stop()
    stories = trial.verify(slots=1, fault_free=True).stories()
    pids = stories[id].done[0].result["payload"]
    assert len(set(pids)) == 3, "parent and two children, each with a backend of its own"
