"""Processes that tasks leave behind hold copies of their worker's descriptors: its end is noticed all the same."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from lavoro import Lavoro
from lavoro.worker.config import WorkerOptions
from lavoro.worker.pipe import FINAL_READS, Pipe
from lavoro.worker.supervisor.lifecycle import State
from lavoro.worker.supervisor.process import ChildProcess
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, ROOT, Ledger, StartWorker, rows


def gone(pid: int) -> bool:
    """Whether a process has ended, be it that its parent has not looked yet."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def killed(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("how", ["TERM", "HUP", "kill", pytest.param("recycle", marks=pytest.mark.slow)])
def test_a_pool_of_processes_that_tasks_keep(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, eventually: Eventually, how: str
) -> None:
    """The worker stops, replaces its process or notices its death, and ends the pool with it."""
    recycled = ["--max-tasks-per-child", "3"] if how == "recycle" else []
    worker = start_worker("-P", "prefork", "-c", "1", *recycled, url=migrated_url)
    first = sender.send_task("where").get(timeout=PATIENCE)
    kept = sender.send_task("use_pool").get(timeout=PATIENCE)
    assert kept
    if how == "HUP":
        worker.send(signal.SIGHUP)
    elif how == "kill":
        killed(first)
    elif how == "recycle":
        sender.send_task("where").get(timeout=PATIENCE)
    if how != "TERM":
        eventually(lambda: gone(first), timeout=PATIENCE, why="the first process has ended")
        assert sender.send_task("where").get(timeout=PATIENCE) != first
    assert worker.stop() == 0
    eventually(lambda: all(map(gone, kept)), timeout=PATIENCE, why="the pool has ended")


@pytest.mark.parametrize("pool", ["gevent", pytest.param("prefork", marks=pytest.mark.slow)])
def test_a_daemon_that_holds_all_descriptors(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually,
    tmp_path: Path, pool: str,
) -> None:  # fmt: skip
    """It goes on, as daemons do; the tasks of the process that forked it start again at once, not after a lease."""
    worker = start_worker("-P", pool, "-c", "1", url=migrated_url, environment={"TEST_LEASE": "600"})
    daemon = sender.send_task("leave_daemon").get(timeout=PATIENCE)
    try:
        held = sender.send_task("hold", [str(tmp_path / "gate")])
        eventually(lambda: ledger.starts(held.id), timeout=PATIENCE, why="it runs")
        (child,) = worker.children
        child.kill()
        eventually(lambda: ledger.starts(held.id) == 2, timeout=PATIENCE, why="it runs again")
        (tmp_path / "gate").touch()
        assert held.get(timeout=PATIENCE) == "held"
        assert worker.stop() == 0
        assert not gone(daemon)
    finally:
        killed(daemon)


def test_a_signal_leaves_the_end_of_a_child_to_its_reaping(eventually: Eventually) -> None:
    """While the zombie is there its group can be ended: a look that took it away would leave forks of tasks alive."""
    child = ChildProcess(WorkerOptions("tests.worker.app"), pool="threads", number=0)
    killed(child.pid)
    eventually(lambda: gone(child.pid), timeout=PATIENCE, why="the process has ended")
    child.life.reach(State.LOADED)
    child.request_stacks()
    assert child.exitcode is None
    assert child.life.state is State.LOADED
    child.reap()
    assert child.life.state is State.GONE
    assert child.exitcode == -signal.SIGKILL
    child.close()


def test_final_messages_end_where_nothing_is_there_though_the_wire_is_open() -> None:
    """A fork holds the other end, says something after the child is gone, or never stops to."""
    ours, theirs = Pipe.pair()
    child = Pipe(theirs)
    child.send("bye")
    assert [message["kind"] for message in ours.final_messages()] == ["bye"]
    assert ours.final_messages() == []
    theirs.setblocking(False)

    def talk() -> list[dict[str, object]]:
        child.send("idle", padding="x" * 1000)
        return receive()

    receive: Callable[[], list[dict[str, object]]] = ours.receive  # type: ignore[assignment]
    ours.receive = talk  # type: ignore[method-assign]
    assert len(ours.final_messages()) == FINAL_READS
    ours.close()
    child.close()


def test_what_is_no_message_is_the_end_of_the_wire() -> None:
    """A task has written to a descriptor that is not its own."""
    ours, theirs = Pipe.pair()
    theirs.sendall(b"hello\n")
    assert ours.receive() is None
    ours.close()
    theirs.close()


def test_a_worker_stops_with_its_parent_though_others_hold_the_descriptor(
    migrated_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    """A fork of a web process holds the descriptor that would be closed by its end."""
    log, (watched, ours) = tmp_path / "log", os.pipe()
    command = [sys.executable, "-m", "lavoro", "worker", "-A", "tests.worker.app", "-l", "info", "-c", "1"]
    script = (
        "import subprocess, sys, time\n"
        f"worker = subprocess.Popen({[*command, '--parent-fd', str(watched)]!r}, pass_fds=[{watched}])\n"
        "print(worker.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    environment = {**os.environ, "LAVORO_DATABASE_URL": migrated_url, "PYTHONPATH": str(ROOT)}
    with log.open("wb") as file, subprocess.Popen(
        [sys.executable, "-c", script], pass_fds=[watched], stdout=subprocess.PIPE, stderr=file, env=environment,
        cwd=ROOT, text=True,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        try:
            eventually(lambda: " ready: " in log.read_text(), timeout=PATIENCE, why="it is ready")
            parent.kill()
            eventually(lambda: gone(worker.pid), timeout=PATIENCE, why="it has stopped")
        finally:
            parent.kill()
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
    os.close(watched)
    os.close(ours)


def test_no_child_holds_a_lease_after_its_end(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, eventually: Eventually
) -> None:
    """The end of a process ends its lease, though its pipe is open."""
    worker = start_worker("-P", "prefork", "-c", "1", url=migrated_url)
    sender.send_task("use_pool").get(timeout=PATIENCE)
    (child,) = worker.children
    child.kill()
    stopped = f"select stopped_at is not null from lavoro.worker where pid = {child.pid}"
    eventually(lambda: rows(sender, stopped) == [(True,)], timeout=PATIENCE, why="its lease has ended")
