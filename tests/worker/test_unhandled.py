"""Tasks whose process is gone: another process calls their handlers."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from lavoro import AsyncResult, Lavoro
from lavoro.exceptions import TaskRevokedError, TimeLimitExceeded, WorkerLostError
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, Ledger, StartWorker, Worker, rows

TOLD = ["on_failure", "after_return", "task_failure"]
Start = Callable[..., Worker]


@pytest.fixture
def start(start_worker: StartWorker, migrated_url: str) -> Start:
    return partial(start_worker, url=migrated_url, app="tests.worker.telling")


@pytest.fixture(autouse=True)
def known_tasks(sender: Lavoro) -> None:
    """The sender knows that they may start only once."""
    for name in ("die", "held"):
        sender.task(name=name, acks_late=False, typing=False)(lambda: None)


def told(ledger: Ledger, result: AsyncResult[Any], *names: str) -> list[list[str]]:
    """What is noted of a task, in order, without its id."""
    names = names or (*TOLD, "task_revoked", "task_postrun")
    return [[name, *rest] for name, id, *rest in ledger.lines() if id == result.id and name in names]


def is_told(ledger: Ledger, eventually: Eventually, result: AsyncResult[Any]) -> list[list[str]]:
    eventually(lambda: told(ledger, result, "task_failure"), timeout=PATIENCE, why="the handlers are called")
    return told(ledger, result)


@pytest.mark.parametrize(
    "pool",
    [
        "gevent",
        pytest.param("threads", marks=pytest.mark.slow),
        "prefork",
        pytest.param("solo", marks=pytest.mark.slow),
    ],
)
def test_a_hard_limit_and_a_lost_worker(
    start: Start, sender: Lavoro, ledger: Ledger, eventually: Eventually, pool: str
) -> None:
    """The outcome is there before, and the process that replaces the dead one tells of it."""
    worker = start("-P", pool, "--processes", "1", *(["-c", "1"] if pool != "solo" else []))
    for name, options, error, kwargs in (
        ("stuck", {"kwargs": {"then": "x"}, "time_limit": 0.3}, TimeLimitExceeded, "{'then': 'x'}"),
        ("die", {}, WorkerLostError, "{}"),
    ):
        result = sender.send_task(name, **options)
        with pytest.raises(error):
            result.get(timeout=PATIENCE)
        on_failure, after_return, task_failure = is_told(ledger, eventually, result)
        [[*_, culprit]] = told(ledger, result, "start")
        pid = on_failure[1]
        assert pid != culprit
        assert " ".join(on_failure[2:]) == f"{error.__name__} True [] {kwargs}"
        assert after_return == ["after_return", pid, "FAILURE"]
        assert task_failure == ["task_failure", pid, result.name, error.__name__, result.name]
        # A process that ends before this is done leaves it to another, which calls the handlers again.
        eventually(lambda: rows(sender, "select * from lavoro.unhandled") == [], timeout=PATIENCE, why="none is left")
    assert worker.stop() == 0


def test_a_process_that_lives_calls_them_at_once(
    start: Start, sender: Lavoro, ledger: Ledger, eventually: Eventually
) -> None:
    """Handlers of the application do not keep a child from its own tasks, or the supervisor from anything."""
    worker = start("-P", "prefork", "-c", "2")
    pids = {str(child.pid) for child in worker.children}
    result = sender.send_task("die", kwargs={"then": "wait"})
    eventually(lambda: told(ledger, result, "on_failure"), timeout=PATIENCE, why="the other process calls them")
    [[_, pid, *_]] = told(ledger, result, "on_failure")
    assert pid in pids
    assert worker.stop() == 0  # handlers that run end first
    assert ledger.lines("waited", result.id)
    assert [name for name, *_ in told(ledger, result)] == TOLD


def test_a_handler_that_ends_its_process_is_called_three_times(
    start: Start, sender: Lavoro, ledger: Ledger, eventually: Eventually
) -> None:
    """And the others are."""
    start("-P", "solo", "--processes", "1")

    def lost(then: str, calls: list[str]) -> None:
        """Lose a process with a task, until its handlers were called, and are to be called no more."""
        result = sender.send_task("die", kwargs={"then": then})
        with pytest.raises(WorkerLostError):
            result.get(timeout=PATIENCE)
        kept = "select tries from lavoro.unhandled"
        eventually(
            lambda: rows(sender, kept) == [(3,)] and [name for name, *_ in told(ledger, result)] == calls,
            timeout=PATIENCE,
        )

    lost("die", ["on_failure"] * 3)
    lost("exit", ["on_failure"])
    lost("", TOLD)
    assert sender.send_task("add", [1, 2]).get(timeout=PATIENCE) == 3


def test_a_terminated_task(start: Start, sender: Lavoro, ledger: Ledger, eventually: Eventually) -> None:
    start("-P", "prefork", "-c", "1")
    result = sender.send_task("stuck")
    eventually(lambda: ledger.starts(result.id), timeout=PATIENCE, why="it runs")
    result.revoke(terminate=True, signal="SIGUSR1")
    with pytest.raises(TaskRevokedError, match="terminated"):
        result.get(timeout=PATIENCE)
    eventually(lambda: told(ledger, result), timeout=PATIENCE, why="the signal is sent")
    [[name, _, *about]] = told(ledger, result)
    assert (name, about) == ("task_revoked", ["True", str(int(signal.SIGUSR1)), "False"])


def test_another_node_or_a_later_worker(
    start: Start, sender: Lavoro, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    """Of a node that is gone as a whole; a worker that does not know the task leaves it to one that does."""
    start_short = partial(start, environment={"TEST_LEASE": "2"})
    gone = start_short("-n", "gone@host", "-c", "2")
    result = sender.send_task("held", [str(tmp_path / "never")])
    eventually(lambda: ledger.starts(result.id), timeout=PATIENCE, why="it runs")
    children = gone.children
    for process in (psutil.Process(gone.process.pid), *children):
        process.kill()
    stranger = start_short("-n", "stranger@host", "-Q", "other", app="tests.worker.app")
    with pytest.raises(WorkerLostError):
        result.get(timeout=PATIENCE)
    stranger.until("has ended")
    assert stranger.stop() == 0
    assert told(ledger, result) == []
    assert len(rows(sender, "select * from lavoro.unhandled")) == 1
    start_short("-n", "later@host", "-Q", "other")
    assert [name for name, *_ in is_told(ledger, eventually, result)] == TOLD


def test_a_forgotten_task_is_passed_over(start: Start, sender: Lavoro, ledger: Ledger, eventually: Eventually) -> None:
    rows(sender, "insert into lavoro.unhandled (id, name) select gen_random_uuid(), 'die' returning 1")
    start("-P", "solo")
    eventually(lambda: rows(sender, "select * from lavoro.unhandled") == [], timeout=PATIENCE, why="it is taken")
    assert ledger.lines("on_failure") == []
