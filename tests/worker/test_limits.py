"""Time limits and cancellation in every pool, on one worker for each."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lavoro import Lavoro
from lavoro.exceptions import TaskRevokedError, TimeLimitExceeded
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, Ledger, Worker, rows, sending_to, workers

POOLS = ["gevent", "threads", "prefork", "solo"]


@pytest.fixture(scope="module", params=POOLS)
def pool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limits")


@pytest.fixture(scope="module")
def worker(pool: str, folder: Path, module_url: str, eventually: Eventually) -> Iterator[Worker]:
    with workers(folder, eventually) as start:
        arguments = ["--processes", "1", "-c", "1"] if pool == "solo" else ["-c", "2"]
        yield start("-P", pool, *arguments, url=module_url)


@pytest.fixture
def ledger(folder: Path) -> Ledger:
    return Ledger(folder / "ledger")


@pytest.fixture
def sender(worker: Worker, module_url: str) -> Iterator[Lavoro]:
    with sending_to(module_url) as app:
        yield app


def test_soft_limit(sender: Lavoro, pool: str) -> None:
    """The task can clean up. A thread that sleeps in C hears of it when it wakes."""
    seconds = 1 if pool == "threads" else 600
    assert sender.send_task("limited", [seconds]).get(timeout=PATIENCE) == "cleaned up"


def test_soft_limit_of_a_loop(sender: Lavoro) -> None:
    """It is raised once, in a task that lets nobody else run too."""
    results = [sender.send_task("limited_loop", []) for _ in range(2)]
    assert [result.get(timeout=PATIENCE) for result in results] == ["cleaned up"] * 2


def test_hard_limit(sender: Lavoro, worker: Worker, pool: str) -> None:
    """Where one process has many slots its neighbours go on."""
    pids = [child.pid for child in worker.children]
    seconds = 1.2 if pool == "threads" else 600
    neighbour = sender.send_task("nap", [1.5])
    with pytest.raises(TimeLimitExceeded):
        sender.send_task("too_long", [seconds]).get(timeout=PATIENCE)
    assert neighbour.get(timeout=PATIENCE) == 1.5
    if pool in ("gevent", "threads"):
        assert [child.pid for child in worker.children] == pids


def test_hard_limit_of_a_blocked_process(sender: Lavoro, ledger: Ledger, folder: Path) -> None:
    """A task that never lets go is ended with its process; it does not start again."""
    result = sender.send_task("burn", [str(folder / "never"), 0.0], time_limit=0.5)
    with pytest.raises(TimeLimitExceeded):
        result.get(timeout=PATIENCE)
    assert ledger.starts(result.id) == 1


def test_hard_limit_of_a_call_into_c(sender: Lavoro, ledger: Ledger, pool: str, folder: Path) -> None:
    """What catches everything and waits in C is ended with its process; its neighbour is not to blame."""
    gate = folder / uuid.uuid4().hex
    neighbour = sender.send_task("hold", [str(gate)])
    if pool == "solo":
        gate.touch()
    result = sender.send_task("stuck", [])
    with pytest.raises(TimeLimitExceeded):
        result.get(timeout=PATIENCE)
    gate.touch()
    assert neighbour.get(timeout=PATIENCE) == "held"
    assert ledger.starts(result.id) == 1
    assert rows(sender, f"select crashes from lavoro.finished where id = '{neighbour.id}'") == [(0,)]


def test_revoke_waiting(sender: Lavoro, ledger: Ledger) -> None:
    result = sender.send_task("nap", [0], countdown=600)
    sender.revoke(result.id)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=PATIENCE)
    assert ledger.starts(result.id) == 0


def test_revoke_before_it_is_sent(sender: Lavoro, ledger: Ledger) -> None:
    id = str(uuid.uuid4())
    sender.revoke(id)
    result = sender.send_task("nap", [0], task_id=id)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=PATIENCE)
    assert ledger.starts(id) == 0


def test_revoke_running(sender: Lavoro, ledger: Ledger, eventually: Eventually, folder: Path) -> None:
    """Without `terminate` it may end."""
    gate = folder / uuid.uuid4().hex
    result = sender.send_task("hold", [str(gate)])
    eventually(lambda: ledger.starts(result.id), timeout=PATIENCE, why="it runs")
    sender.revoke(result.id)
    query = f"select cancel from lavoro.running where id = '{result.id}'"
    eventually(lambda: rows(sender, query)[0][0], timeout=PATIENCE, why="it is to be cancelled")
    gate.touch()
    assert result.get(timeout=PATIENCE) == "held"


def test_terminate_running(sender: Lavoro, ledger: Ledger, eventually: Eventually, pool: str, folder: Path) -> None:
    """A task that is terminated ends as REVOKED and does not start again."""
    result = sender.send_task("hold", [str(folder / "never")]) if pool == "threads" else sender.send_task("nap", [600])
    eventually(lambda: ledger.starts(result.id), timeout=PATIENCE, why="it runs")
    sender.revoke(result.id, terminate=True)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=PATIENCE)
    assert sender.send_task("add", [1, 2]).get(timeout=PATIENCE) == 3
    assert ledger.starts(result.id) == 1
    assert result.state == "REVOKED"


def test_terminate_what_does_not_heed_it(
    sender: Lavoro, ledger: Ledger, eventually: Eventually, pool: str, folder: Path
) -> None:
    """Where a process has one slot it is ended; elsewhere that would harm others."""
    if pool not in ("prefork", "solo"):
        pytest.skip("many slots in a process")
    result = sender.send_task("stubborn", [])
    eventually(lambda: ledger.starts(result.id), timeout=PATIENCE, why="it runs")
    with contextlib.suppress(TaskRevokedError):
        sender.revoke(result.id, terminate=True)
        result.get(timeout=PATIENCE)
    assert result.state == "REVOKED"
    assert ledger.starts(result.id) == 1
    assert sender.send_task("add", [1, 2]).get(timeout=PATIENCE) == 3


@pytest.mark.parametrize("end", ["complete", "fail"])
def test_a_run_whose_task_was_ended_from_outside_is_interrupted(
    sender: Lavoro, ledger: Ledger, eventually: Eventually, pool: str, folder: Path, end: str
) -> None:
    """In each slot, so that all of them are free again; the outcomes of the interrupted runs count for nothing."""
    count = 1 if pool == "solo" else 2
    name, args = ("hold", [str(folder / "never")]) if pool == "threads" else ("nap", [600])
    results = [sender.send_task(name, args) for _ in range(count)]
    eventually(lambda: all(ledger.starts(result.id) for result in results), timeout=PATIENCE, why="they run")
    for result in results:
        assert sender.complete(result.id, "told") if end == "complete" else sender.fail(result.id, ValueError("told"))
    gate = folder / uuid.uuid4().hex
    others = [sender.send_task("hold", [str(gate)]) for _ in range(count)]
    eventually(lambda: all(ledger.starts(other.id) for other in others), timeout=PATIENCE, why="the slots are free")
    gate.touch()
    assert [other.get(timeout=PATIENCE) for other in others] == ["held"] * count
    assert [ledger.starts(result.id) for result in results] == [1] * count
    assert [(result.state, str(result.result)) for result in results] == [
        ("SUCCESS" if end == "complete" else "FAILURE", "told")
    ] * count


def test_a_run_that_does_not_heed_an_end_from_outside_is_ended_with_its_process(
    sender: Lavoro, ledger: Ledger, eventually: Eventually, pool: str
) -> None:
    """Where it is alone there; elsewhere it goes on, and what it returns is refused."""
    if pool not in ("prefork", "solo"):
        pytest.skip("many slots in a process")
    result = sender.send_task("stubborn", [])
    eventually(lambda: ledger.starts(result.id), timeout=PATIENCE, why="it runs")
    assert sender.complete(result.id, 5)
    assert sender.send_task("add", [1, 2]).get(timeout=PATIENCE) == 3
    if pool == "solo":  # prefork had another process for it
        assert ledger.starts(result.id) == 1
    assert result.get(timeout=PATIENCE) == 5


def test_revoke_while_all_slots_are_taken(
    sender: Lavoro, ledger: Ledger, eventually: Eventually, pool: str, folder: Path
) -> None:
    """Whether it waits or this worker has claimed it already."""
    gate = folder / uuid.uuid4().hex
    held = [sender.send_task("hold", [str(gate)]) for _ in range(1 if pool == "solo" else 2)]
    eventually(lambda: all(ledger.starts(result.id) for result in held), timeout=PATIENCE, why="they run")
    behind = sender.send_task("nap", [0])
    sender.revoke(behind.id)
    # If it was claimed ahead it comes back soon, for the tasks before it take their time.
    query = f"select id from lavoro.running where id = '{behind.id}'"
    eventually(lambda: not rows(sender, query), timeout=PATIENCE, why="no process has it")
    gate.touch()
    with pytest.raises(TaskRevokedError):
        behind.get(timeout=PATIENCE)
    assert {result.get(timeout=PATIENCE) for result in held} == {"held"}
    assert ledger.starts(behind.id) == 0
