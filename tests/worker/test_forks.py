"""Forks: what a task forks is no second worker, and ends where its task ends; the worker goes on as if nothing were."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from lavoro import Lavoro
from tests.conftest import Eventually
from tests.worker.conftest import Ledger, StartWorker, Worker, rows

POOLS = [
    "gevent",
    pytest.param("threads", marks=pytest.mark.slow),
    "prefork",
    pytest.param("solo", marks=pytest.mark.slow),
]
TROUBLE = re.compile(r"ERROR|CRITICAL|refused|goes on|blocked for|requeued|could not be released|failed")


def start(start_worker: StartWorker, url: str, pool: str) -> Worker:
    slots = "1" if pool in ("prefork", "solo") else "8"
    return start_worker("-P", pool, "-c", slots, url=url, app="tests.worker.forks")


def is_well(worker: Worker, sender: Lavoro) -> None:
    """The process runs tasks, has no other beside it, and nothing was wrong with it."""
    [child] = worker.children
    assert sender.send_task("where").get(timeout=60) == child.pid
    assert [other for other in child.children() if other.status() != psutil.STATUS_ZOMBIE] == []
    assert [line for line in worker.log.splitlines() if TROUBLE.search(line)] == []


WAYS = {"exit": 3, "words": 1, "return": 0, "raise": 1, "grandchild": 0, "call": 0}
"""How a fork ends, and its exit code."""


@pytest.mark.parametrize("pool", POOLS)
def test_a_fork_ends_with_its_task_and_is_no_second_worker(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, tmp_path: Path,
    eventually: Eventually, pool: str,
) -> None:  # fmt: skip
    worker, alone = start(start_worker, migrated_url, pool), pool in ("prefork", "solo")
    [child] = worker.children
    for way, code in WAYS.items():
        gate = tmp_path / way
        if way == "call" and alone:  # the one slot waits for the fork, which waits for a task
            continue
        forker = sender.send_task("fork", (way, str(gate)))
        eventually(lambda id=forker.id: ledger.lines("holds", id), why="the task that forks holds the lock")
        first = 2 if alone else 0  # the first two wait for what the task that forks holds
        others = [sender.send_task("beside", (first + number, 0.05)) for number in range(30)]
        if not alone:
            eventually(lambda ids=others: all(ledger.starts(other.id) for other in ids[:2]), why="they wait")
        gate.touch()
        assert forker.get(timeout=60) == code
        assert [other.get(timeout=60) for other in others] == list(range(first, first + 30))
        for id in (forker.id, *(other.id for other in others)):
            assert ledger.lines("start", id) == [["start", id, str(child.pid)]], way
            assert ledger.lines("end", id) == [["end", id, str(child.pid)]], way
        assert len(ledger.lines("forked", way)) == 1
        assert rows(sender, "select id from lavoro.running") == []
    assert "it is over" in worker.log
    assert "RuntimeError: raised in the fork" in worker.log
    is_well(worker, sender)
    assert worker.stop() == 0


@pytest.mark.parametrize("pool", POOLS)
def test_libraries_that_fork_do_as_they_do_elsewhere(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, pool: str
) -> None:
    worker = start(start_worker, migrated_url, pool)
    expected: dict[str, Any] = {
        "process": 0, "terminate": [-15] * 5, "pool": [0, 1, 4, 9], "executor": [0, 1, 4, 9], "subprocess": "4\n",
    }  # fmt: skip
    if pool == "gevent":
        del expected["pool"]
    results = {what: sender.send_task("use", (what,)) for what in expected}
    beside = [sender.send_task("beside", (2 + number, 0.05)) for number in range(20)]
    assert {what: result.get(timeout=60) for what, result in results.items()} == expected
    assert len([result.get(timeout=60) for result in beside]) == 20
    is_well(worker, sender)
    assert worker.stop() == 0


def test_the_pool_of_multiprocessing_is_refused_beside_greenlets(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str
) -> None:
    worker = start(start_worker, migrated_url, "gevent")
    result = sender.send_task("use", ("pool",))
    with pytest.raises(Exception, match="multiprocessing.Pool.*use concurrent.futures.ProcessPoolExecutor.*-P threads"):
        result.get(timeout=60)
    assert sender.send_task("use", ("executor",)).get(timeout=60) == [0, 1, 4, 9]
    assert worker.stop() == 0


@pytest.mark.parametrize("pool", ["gevent", "solo"])
def test_a_fork_of_a_signal_does_no_work_of_the_worker(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, pool: str
) -> None:
    worker = start(start_worker, migrated_url, pool)
    assert ledger.lines("began") == [["began", "0"]]
    result = sender.send_task("prerun")
    assert [["ran", str(result.get(timeout=60))]] == ledger.lines("ran")
    is_well(worker, sender)
    assert worker.stop() == 0


@pytest.mark.parametrize("pool", ["gevent", pytest.param("threads", marks=pytest.mark.slow), "solo"])
def test_what_follows_a_handler_that_forks_is_done_by_the_parent_alone(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, pool: str
) -> None:
    worker = start(start_worker, migrated_url, pool)
    [child] = worker.children
    result = sender.send_task("told")
    assert result.get(timeout=60) == child.pid
    for what in ("returned", "postrun"):
        assert ledger.lines(what, result.id) == [[what, result.id, str(child.pid)]]
    is_well(worker, sender)
    assert worker.log.count(f"[{result.id}] succeeded") == 1
    assert worker.stop() == 0


PROGRAMS = """
from gevent import monkey; monkey.patch_all()
import gc, gevent, os, subprocess, sys
from lavoro.worker.child.forked import prepare
prepare([])
find = gc.get_referrers
gc.get_referrers = lambda *objects: (os.write(1, b"searched\\n"), find(*objects))[1]
def start():
    subprocess.run(["echo", "program"])
    subprocess.run(["echo", "prepared"], preexec_fn=lambda: None)
    if os.fork() == 0:
        os._exit(os.write(1, b"forked\\n") * 0)
    os.wait()
gevent.spawn(start).get()
"""


def test_the_start_of_a_program_does_not_search_for_copied_greenlets() -> None:
    """It would take as long as the application is large; where code of the user's runs before, it is done."""
    done = subprocess.run([sys.executable, "-c", PROGRAMS], stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["program", "searched", "prepared", "searched", "forked"]
