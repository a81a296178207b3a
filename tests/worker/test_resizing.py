"""A worker gets more slots, and fewer, while its tasks run: none is cut, and no process is replaced."""

from __future__ import annotations

import math
import os
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from lavoro import Lavoro
from lavoro.protocol.message import Job
from lavoro.store.queues import worker_status
from lavoro.worker.child.pools.threads import ThreadPool
from lavoro.worker.scoreboard import Scoreboard, unnamed_file
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, Ledger, StartWorker
from tests.worker.test_pool import job


def test_slots_come_and_leave(eventually: Eventually) -> None:
    """A slot that is one too many ends after its job; numbers are used again, so that the scoreboard has room."""
    gate, used = threading.Semaphore(0), []

    def run(job: Job, slot: int, call: Any) -> None:
        used.append(slot)
        gate.acquire()

    pool = ThreadPool(1, run)
    pool.start()
    pool.add([job(str(number)) for number in range(8)])
    pool.resize(4)
    eventually(lambda: len(used) == 4, why="four run")
    pool.resize(2)
    assert (pool.slots, pool.present, len(pool.running)) == (2, 4, 4)
    gate.release(2)
    eventually(lambda: pool.present == 2, why="two have left")
    assert (len(pool.running), pool.waiting) == (2, 4)
    pool.resize(3)
    eventually(lambda: len(used) == 5, why="one more runs")
    assert max(used) < 4
    gate.release(100)
    eventually(lambda: len(used) == 8, why="all have run")
    pool.resize(1)
    eventually(lambda: pool.present == 1, why="idle slots leave at once")
    pool.add([job("last")])
    eventually(lambda: len(used) == 9, why="the one that is left works")
    pool.stop()
    pool.join(PATIENCE)


def test_a_scoreboard_grows() -> None:
    """Each side maps the memory anew; what ran and what had ended is still there."""
    descriptor = unnamed_file()
    os.ftruncate(descriptor, Scoreboard.size(1))
    child, supervisor = Scoreboard(descriptor, 1), Scoreboard(descriptor, 1)
    ids = [uuid.uuid4() for _ in range(3)]
    child.begin(0, ids[0].bytes, math.inf)
    child.end(0, ids[0].bytes)
    child.begin(0, ids[1].bytes, math.inf)
    supervisor.resize(300)
    child.resize(300)
    child.begin(299, ids[2].bytes, math.inf)
    assert [(entry.slot, entry.id) for entry in supervisor.entries()] == [(0, ids[1]), (299, ids[2])]
    for board in (supervisor, child):
        board.resize(1)
    assert len(supervisor.entries()) == 2  # until it ends
    child.end(299, ids[2].bytes)
    assert len(supervisor.entries()) == 1
    assert set(supervisor.ended()) == {ids[0], ids[2]}
    os.close(descriptor)


@pytest.mark.parametrize("pool", ["gevent", "threads"])
def test_slots_follow_commands(
    start_worker: StartWorker, sender: Lavoro, ledger: Ledger, eventually: Eventually, migrated_url: str,
    tmp_path: Path, pool: str,
) -> None:  # fmt: skip
    """The process stays, running tasks go on, and all that tells of the slots follows."""
    worker = start_worker("-P", pool, "-c", "2", "-n", "one@here", url=migrated_url)
    control, inspect = sender.control, sender.control.inspect("one@here", timeout=PATIENCE)
    pids = [child.pid for child in worker.children]

    def told() -> tuple[int, int, int]:
        stats = inspect.stats() or {}
        [row] = worker_status(sender.database)
        return row.slots, stats["pool"]["max-concurrency"], len(inspect.active() or [])

    gates = [tmp_path / f"gate{number}" for number in range(6)]
    held = [sender.send_task("hold", [str(gate)]) for gate in gates]
    eventually(lambda: told() == (2, 2, 2), timeout=PATIENCE, why="two run")
    assert control.pool_grow(2, reply=True, timeout=PATIENCE) == [{"one@here": {"ok": "pool will grow"}}]
    eventually(lambda: told() == (4, 4, 4), timeout=PATIENCE, why="four run")
    control.pool_shrink(3, reply=True, timeout=PATIENCE)
    assert told() == (4, 1, 4)  # none was cut, and all four still run
    running = [place for place, result in enumerate(held) if ledger.starts(result.id)]
    for place in running:
        gates[place].touch()
        assert held[place].get(timeout=PATIENCE) == "held"
    eventually(lambda: told() == (1, 1, 1), timeout=PATIENCE, why="one at a time")
    for gate in gates:
        gate.touch()
    assert [result.get(timeout=PATIENCE) for result in held] == ["held"] * 6
    assert [ledger.starts(result.id) for result in held] == [1] * 6
    assert [child.pid for child in worker.children] == pids
    refused = "the pool would have 0 slots: the least is 1"
    assert control.pool_shrink(1, reply=True, timeout=PATIENCE) == [{"one@here": {"error": refused}}]
    control.pool_grow(7, reply=True, timeout=PATIENCE)
    worker.children[0].kill()
    eventually(
        lambda: (
            [row.slots for row in worker_status(sender.database)] == [8]
            and [child.pid for child in worker.children] not in ([], pids)
        ),
        timeout=PATIENCE, why="its successor has as many",
    )  # fmt: skip
    assert worker.stop() == 0


def test_processes_of_prefork_follow_commands(
    start_worker: StartWorker, sender: Lavoro, ledger: Ledger, eventually: Eventually, migrated_url: str, tmp_path: Path
) -> None:
    """One that is too many ends after its task, however short the grace is."""
    worker = start_worker("-P", "prefork", "-c", "1", "--grace", "0", "-n", "one@here", url=migrated_url)
    gates = [tmp_path / f"gate{number}" for number in range(2)]
    held = [sender.send_task("hold", [str(gate)]) for gate in gates]
    sender.control.pool_grow(1, reply=True, timeout=PATIENCE)
    eventually(lambda: sum(ledger.starts(result.id) for result in held) == 2, timeout=PATIENCE, why="both run")
    sender.control.pool_shrink(1, reply=True, timeout=PATIENCE)
    later = sender.send_task("add", [1, 2])
    for gate, result in zip(gates, held, strict=True):
        gate.touch()
        assert result.get(timeout=PATIENCE) == "held"
    assert later.get(timeout=PATIENCE) == 3
    eventually(lambda: len(worker.children) == 1, timeout=PATIENCE, why="one process is left")
    assert [ledger.starts(result.id) for result in held] == [1, 1]
