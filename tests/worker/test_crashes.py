"""Whatever is killed, and however: every task finishes, and one that kills its worker ends."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import psutil
import pytest

from lavoro import AsyncResult, Lavoro
from lavoro.exceptions import WorkerLostError
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, Ledger, StartWorker, rows


def hold_some(sender: Lavoro, ledger: Ledger, eventually: Eventually, gate: Path, count: int) -> list[str]:
    ids = [sender.send_task("hold", [str(gate)]).id for _ in range(count)]
    eventually(lambda: all(ledger.starts(id) for id in ids), timeout=PATIENCE, why="they all run")
    return ids


def send_beside(sender: Lavoro, eventually: Eventually, poison: AsyncResult[object]) -> list[AsyncResult[int]]:
    """Send others after each of a task's first two crashes.

    They share at most two of its three: with three, which chance may bring, they would be blamed as well.
    """
    others: list[AsyncResult[int]] = []
    lost = f"select count(*) from lavoro.attempt where id = '{poison.id}'"
    for times in (1, 2):
        eventually(lambda times=times: rows(sender, lost) >= [(times,)], timeout=PATIENCE, why=f"crash {times}")
        others += [sender.send_task("add", [len(others) + number, 1]) for number in range(10)]
    return others


def results(sender: Lavoro, ids: list[str]) -> list[object]:
    return [sender.AsyncResult(id).get(timeout=PATIENCE) for id in ids]


def test_killed_child(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    worker = start_worker("-c", "5", url=migrated_url)
    ids = hold_some(sender, ledger, eventually, tmp_path / "gate", 5)
    (child,) = worker.children
    child.kill()
    eventually(lambda: all(ledger.starts(id) == 2 for id in ids), timeout=PATIENCE, why="they all run again")
    (tmp_path / "gate").touch()
    assert results(sender, ids) == ["held"] * 5
    ((state, reason),) = rows(sender, "select distinct state, reason from lavoro.attempt")
    begun = re.findall(r"hold\[(.+?)\]", reason)  # in the order of the slots, which may have begun in any order
    assert set(begun) <= set(ids)
    shown = ", ".join(f"hold[{id}]" for id in begun)
    end = f"worker process {child.pid} was ended by signal 9 (SIGKILL)"
    assert (state, reason) == ("LOST", f"{end}; it had begun {shown} and 2 more")
    assert worker.stop() == 0
    assert worker.log.count("was ended by signal 9 (SIGKILL)") == 1
    assert f"worker process {child.pid} had begun hold[{begun[0]}], " in worker.log
    assert " and 2 more: 5 tasks wait again, 0 have ended" in worker.log


@pytest.mark.slow
def test_a_blocked_child_without_a_supervisor_dies_with_its_lease(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    worker = start_worker("-c", "1", url=migrated_url, environment={"TEST_LEASE": "3"})
    task = sender.send_task("burn", [str(tmp_path / "gate")])
    eventually(lambda: ledger.starts(task.id), timeout=PATIENCE, why="it runs")
    (child,) = worker.children
    worker.send(signal.SIGKILL)
    psutil.wait_procs([child], timeout=PATIENCE)
    assert not child.is_running()


@pytest.mark.slow
def test_a_child_whose_self_fence_cannot_act_is_gone_before_its_tasks_start_again(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, tmp_path: Path
) -> None:
    """Its supervisor is killed while a call in C holds Python's lock."""
    environment = {"TEST_LEASE": "6"}
    worker = start_worker("-c", "1", url=migrated_url, environment=environment)
    result = sender.send_task("grip", [str(tmp_path / "pid")])
    worker.until("has been blocked for")
    worker.send(signal.SIGKILL)
    start_worker("-c", "1", url=migrated_url, environment=environment)
    assert result.get(timeout=PATIENCE) == "it is gone"


def test_killed_node_is_rescued_by_another(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    environment = {"TEST_LEASE": "3"}
    doomed = start_worker("-n", "doomed", "-c", "3", url=migrated_url, environment=environment)
    ids = hold_some(sender, ledger, eventually, tmp_path / "gate", 3)
    start_worker("-n", "heir", "-c", "3", url=migrated_url, environment=environment)
    doomed.destroy()
    (tmp_path / "gate").touch()
    assert results(sender, ids) == ["held"] * 3
    assert all(ledger.starts(id) == 2 for id in ids)
    (reason,) = {reason for (reason,) in rows(sender, "select reason from lavoro.attempt")}
    assert "lease expired" in reason


def test_poison_ends_and_others_flow(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually
) -> None:
    worker = start_worker("-c", "4", url=migrated_url)
    poison = sender.send_task("end_process", ["exit"])
    others = send_beside(sender, eventually, poison)
    assert [other.get(timeout=PATIENCE) for other in others] == list(range(1, 21))
    with pytest.raises(WorkerLostError, match="3 such ends"):
        poison.get(timeout=PATIENCE)
    assert poison.state == "FAILURE"
    assert ledger.starts("exit") == 3
    for (reason,) in rows(sender, f"select reason from lavoro.attempt where id = '{poison.id}'"):
        assert f"end_process[{poison.id}]" in reason
        end, _, begun = reason.partition("; it had begun ")
        assert worker.log.count(end) == 1
        assert f"{' '.join(end.split()[:3])} had begun {begun}: " in worker.log
    worker.until(f"] Task end_process[{poison.id}] raised unexpected: WorkerLostError('worker process ")


def test_a_task_after_which_nothing_can_be_stored_ends(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually
) -> None:
    """It has returned, and its process cannot go on; others are neither kept waiting nor blamed."""
    start_worker("-c", "2", url=migrated_url)
    poison = sender.send_task("close_descriptors")
    others = send_beside(sender, eventually, poison)
    with pytest.raises(WorkerLostError, match="3 such ends"):
        poison.get(timeout=PATIENCE)
    assert [other.get(timeout=PATIENCE) for other in others] == list(range(1, 21))
    assert len(ledger.lines("start", "close_descriptors")) == 3


@pytest.mark.parametrize("pool", ["gevent", pytest.param("threads", marks=pytest.mark.slow), "solo"])
def test_exits_in_tasks_are_failures(start_worker: StartWorker, sender: Lavoro, migrated_url: str, pool: str) -> None:
    start_worker("-P", pool, "-c", "2", url=migrated_url)
    before = sender.send_task("where").get(timeout=PATIENCE)
    for name in ("SystemExit", "MemoryError", "KeyboardInterrupt") * 2:
        result = sender.send_task("raise_it", [name])
        assert type(result.get(timeout=PATIENCE, propagate=False)).__name__ == name
        assert result.state == "FAILURE"
    assert sender.send_task("where").get(timeout=PATIENCE) == before
