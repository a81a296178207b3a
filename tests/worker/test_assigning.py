"""Tasks that calls claim for a worker at rest: it runs them, and whatever becomes of it they are not lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from lavoro import Lavoro
from lavoro.protocol.ids import uuid7
from lavoro.result import AsyncResult
from lavoro.store import offers
from tests.conftest import Eventually
from tests.store.walk import heard
from tests.worker.conftest import PATIENCE, Ledger, StartWorker, Worker, rows

Assign = Callable[..., str]


@pytest.fixture
def assign(sender: Lavoro, migrated_url: str) -> Iterator[Assign]:
    """Send a task until one is assigned; return its id. The others have ended before."""
    with psycopg.connect(migrated_url, autocommit=True) as ears:
        ears.execute("listen marks")

        def assigned(*call: object) -> list[str]:
            for (worker_id,) in ears.execute("select id from lavoro.worker where stopped_at is null").fetchall():
                ears.execute(f"listen {offers.channel('lavoro', worker_id)}")
            sent = sender.send_task(*call)
            if told := heard(ears, "marks"):
                assert told == [sent.id]
                return told
            sent.get(timeout=PATIENCE)
            return []

        def assign(*call: object, eventually: Eventually) -> str:
            return eventually(lambda: assigned(*call), timeout=PATIENCE, why="a task is assigned")[0]

        yield assign


@pytest.fixture
def worker(start_worker: StartWorker, sender: Lavoro, migrated_url: str) -> Worker:
    return start_worker("-c", "32", url=migrated_url)


def assign_to_stopped(
    worker: Worker, sender: Lavoro, assign: Assign, eventually: Eventually, *call: Any
) -> tuple[psutil.Process, AsyncResult[Any]]:
    """Stop the worker's process, and assign a task to it that it cannot take in."""
    assign("add", [1, 2], eventually=eventually)
    (child,) = worker.children
    child.send_signal(signal.SIGSTOP)
    sent = sender.send_task(*call)
    eventually(lambda: rows(sender, f"select 1 from lavoro.running where id = '{sent.id}'"), why="it is assigned")
    return child, sent


def test_it_runs_like_any_other(worker: Worker, sender: Lavoro, assign: Assign, eventually: Eventually) -> None:
    id = assign("add", [1, 2], eventually=eventually)
    assert sender.AsyncResult(id).get(timeout=PATIENCE) == 3
    assert rows(sender, f"select attempt, crashes, state from lavoro.finished where id = '{id}'") == [(1, 0, "SUCCESS")]
    assert worker.stop() == 0
    assert rows(sender, "select * from lavoro.offer") == []
    assert rows(sender, "select * from lavoro.attempt") == []


def test_what_a_process_did_not_live_to_take_in_runs_in_the_next(
    worker: Worker, sender: Lavoro, assign: Assign, eventually: Eventually, ledger: Ledger
) -> None:
    """Its start is recorded as lost, and no crash is counted: it had not begun."""
    child, sent = assign_to_stopped(worker, sender, assign, eventually, "where")
    child.kill()
    assert sent.get(timeout=PATIENCE) not in (child.pid, os.getpid())
    assert rows(sender, f"select attempt, crashes from lavoro.finished where id = '{sent.id}'") == [(2, 0)]
    assert rows(sender, f"select state from lavoro.attempt where id = '{sent.id}'") == [("LOST",)]


def test_it_can_be_cancelled_before_it_is_taken_in(
    worker: Worker, sender: Lavoro, assign: Assign, eventually: Eventually, ledger: Ledger
) -> None:
    child, sent = assign_to_stopped(worker, sender, assign, eventually, "hold", ["/nowhere"])
    sent.revoke(terminate=True)
    child.send_signal(signal.SIGCONT)
    eventually(lambda: sent.state == "REVOKED", timeout=PATIENCE, why="it is over")
    assert ledger.starts(sent.id) == 0


def test_what_comes_when_a_worn_process_has_stopped_claiming_goes_back(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, assign: Assign, eventually: Eventually,
    tmp_path: Path,
) -> None:  # fmt: skip
    """A call whose commit is slow keeps it from withdrawing its offers until it has said that it leaves."""
    gate = tmp_path / "gate"
    worker = start_worker("-c", "32", "--max-tasks-per-child", "40", url=migrated_url)
    (child,) = worker.children
    held = sender.send_task("hold", [str(gate)])
    assign("add", [1, 2], eventually=eventually)
    late = uuid7()
    with psycopg.connect(migrated_url) as slow:
        slow.execute("select lavoro.assign_task(%s, 'celery', 0::int2, 'add', '[1, 2]', null, null)", (late,))
        assert slow.execute("select 1 from lavoro.running where id = %s", (late,)).fetchall()
        for result in [sender.send_task("add", [1, 1]) for _ in range(45)]:
            result.get(timeout=PATIENCE)
        worker.until("is replaced after")
        eventually(lambda: len(worker.children) > 1, timeout=PATIENCE, why="its successor has begun")
    gate.touch()
    assert held.get(timeout=PATIENCE) == "held"
    assert sender.AsyncResult(str(late)).get(timeout=PATIENCE) == 3
    eventually(lambda: not child.is_running(), timeout=PATIENCE, why="it has left")


def test_a_task_assigned_to_a_worker_that_is_told_to_stop_goes_back(
    worker: Worker, sender: Lavoro, assign: Assign, eventually: Eventually
) -> None:
    child, sent = assign_to_stopped(worker, sender, assign, eventually, "where")
    worker.send(signal.SIGTERM)
    worker.until("SIGTERM")
    child.send_signal(signal.SIGCONT)
    assert worker.wait() == 0
    found = rows(sender, f"select stage, attempts from lavoro.tasks where id = '{sent.id}'")
    assert found in ([("waiting", 0)], [("finished", 1)])
    assert rows(sender, "select * from lavoro.offer") == []
