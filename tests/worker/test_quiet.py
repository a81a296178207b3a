"""A quiet worker: TSTP has it claim nothing more, finish what runs, and stay; CONT has it claim again."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lavoro import Lavoro, chain
from lavoro.store.queues import queue_status, worker_status, workers_of
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, ROOT, Ledger, StartWorker, Worker, rows

AT_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from lavoro.cli import main; main()"
OFFERS = "select * from lavoro.offer where until > clock_timestamp()"


def is_quiet(sender: Lavoro) -> bool:
    return all(worker.quiet for worker in worker_status(sender.database))


def silence(worker: Worker, sender: Lavoro, eventually: Eventually) -> None:
    """Return when nothing is claimed any more."""
    worker.send(signal.SIGTSTP)
    worker.until("SIGTSTP: quiet")
    eventually(lambda: is_quiet(sender), timeout=PATIENCE, why="others see it")


def go_on(worker: Worker) -> None:
    worker.send(signal.SIGCONT)
    worker.until("SIGCONT: it claims tasks again")


@pytest.mark.parametrize(
    "shape",
    [["-c", "4"], ["-P", "prefork", "-c", "2"], pytest.param(["-P", "threads", "-c", "2"], marks=pytest.mark.slow)],
)
def test_it_finishes_and_stays(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually,
    tmp_path: Path, shape: list[str],
) -> None:  # fmt: skip
    """Running tasks end and are stored; later ones wait for other workers, or until the worker claims again."""
    gate = tmp_path / "gate"
    worker = start_worker(*shape, url=migrated_url)
    held = sender.send_task("hold", [str(gate)])
    eventually(lambda: ledger.starts(held.id), timeout=PATIENCE, why="it runs")
    silence(worker, sender, eventually)
    assert "1 task runs" in worker.log
    late = [sender.send_task("where") for _ in range(20)]
    gate.touch()
    assert held.get(timeout=PATIENCE) == "held"
    other = start_worker("-n", "other@here", url=migrated_url)
    assert {result.get(timeout=PATIENCE) for result in late} <= {child.pid for child in other.children}
    assert other.stop() == 0
    waiting = sender.send_task("where")
    assert worker.process.poll() is None
    go_on(worker)
    assert waiting.get(timeout=PATIENCE) in {child.pid for child in worker.children}
    eventually(lambda: not any(status.quiet for status in worker_status(sender.database)), why="others see it")
    assert worker.stop() == 0


def test_no_call_assigns_a_task_to_it(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, eventually: Eventually
) -> None:
    """Its offers are withdrawn, and it listens for no new tasks: calls need not notify it."""
    worker = start_worker("-c", "40", url=migrated_url)

    def offers() -> bool:
        sender.send_task("add", [1, 1]).get(timeout=PATIENCE)
        return bool(rows(sender, OFFERS))

    eventually(offers, timeout=PATIENCE, why="it offers slots")
    silence(worker, sender, eventually)
    assert rows(sender, OFFERS) == []
    sent = [sender.send_task("add", [1, 2]) for _ in range(5)]
    assert rows(sender, "select id from lavoro.running") == []
    go_on(worker)
    assert [result.get(timeout=PATIENCE) for result in sent] == [3] * 5
    assert worker.stop() == 0


def test_a_chain_goes_on_elsewhere(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    worker = start_worker("-c", "40", url=migrated_url)
    gate = tmp_path / "gate"
    sent = chain(sender.signature("hold", [str(gate)]), sender.signature("where", immutable=True)).apply_async()
    eventually(lambda: ledger.lines("start"), timeout=PATIENCE, why="the first step runs")
    silence(worker, sender, eventually)
    gate.touch()
    waiting = "select name from lavoro.waiting"
    eventually(lambda: rows(sender, waiting) == [("where",)], timeout=PATIENCE, why="the next step waits")
    assert worker.stop() == 0
    other = start_worker("-n", "other@here", url=migrated_url)
    assert sent.get(timeout=PATIENCE) in {child.pid for child in other.children}


def test_it_is_shown(start_worker: StartWorker, sender: Lavoro, migrated_url: str, eventually: Eventually) -> None:
    """A quiet worker serves no queue: what waits for it would wait for ever."""
    worker = start_worker(url=migrated_url)
    sender.send_task("add", [1, 1]).get(timeout=PATIENCE)
    silence(worker, sender, eventually)
    sender.send_task("add", [1, 1])
    [queue] = queue_status(sender.database)
    assert (queue.ready, queue.served) == (1, False)
    assert workers_of(sender.database, "celery") == ([], False)
    go_on(worker)
    eventually(lambda: workers_of(sender.database, "celery")[0], timeout=PATIENCE, why="it is served again")


def test_processes_that_begin_meanwhile(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, eventually: Eventually
) -> None:
    """Those of a reload, and the successor of one that died, claim nothing and are shown as quiet."""
    worker = start_worker("--processes", "2", url=migrated_url)
    silence(worker, sender, eventually)
    before = {child.pid for child in worker.children}
    worker.send(signal.SIGHUP)

    def replaced() -> bool:
        pids = {status.pid for status in worker_status(sender.database)}
        return len(pids) == 2 and not pids & before and is_quiet(sender)

    eventually(replaced, timeout=PATIENCE, why="both are replaced")
    waiting = sender.send_task("where")
    before = {child.pid for child in worker.children}
    for child in worker.children:
        child.kill()
    eventually(replaced, timeout=PATIENCE, why="both are replaced")
    assert waiting.state == "PENDING"
    go_on(worker)
    assert waiting.get(timeout=PATIENCE) not in before
    assert worker.stop() == 0


def test_its_leases_are_renewed(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, eventually: Eventually
) -> None:
    worker = start_worker(url=migrated_url, environment={"TEST_LEASE": "6"})
    silence(worker, sender, eventually)
    [before] = worker_status(sender.database)
    lease = "select expires_at from lavoro.worker"
    first = rows(sender, lease)
    eventually(lambda: rows(sender, lease) > first, timeout=PATIENCE, why="its lease is longer")
    [after] = worker_status(sender.database)
    assert (after.pid, after.quiet) == (before.pid, True)
    assert worker.stop() == 0


def test_orders_that_change_nothing(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, eventually: Eventually, ledger: Ledger, tmp_path: Path
) -> None:
    """A second TSTP; CONT without TSTP; CONT after TERM, which service managers send with it."""
    worker = start_worker("--grace", "600", url=migrated_url)
    worker.send(signal.SIGCONT)
    held = sender.send_task("hold", [str(tmp_path / "gate")])
    eventually(lambda: ledger.starts(held.id), timeout=PATIENCE, why="it runs")
    for _ in range(2):
        silence(worker, sender, eventually)
    worker.send(signal.SIGTERM)
    worker.send(signal.SIGCONT)
    worker.until("SIGTERM: stopping, 1 task runs")
    waiting = sender.send_task("where")
    (tmp_path / "gate").touch()
    assert worker.wait() == 0
    assert (held.state, waiting.state) == ("SUCCESS", "PENDING")
    assert worker.log.count("SIGTSTP: quiet") == 1
    assert "claims tasks again" not in worker.log


def test_a_stop_takes_no_time(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, eventually: Eventually
) -> None:
    worker = start_worker("--grace", "600", url=migrated_url)
    silence(worker, sender, eventually)
    began = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began < 10


def test_a_draining_worker_waits_while_it_is_quiet(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    held = sender.send_task("hold", [str(gate)])
    worker = start_worker("--drain", "-c", "1", url=migrated_url)
    eventually(lambda: ledger.starts(held.id), timeout=PATIENCE, why="it runs")
    silence(worker, sender, eventually)
    waiting = sender.send_task("where")
    gate.touch()
    assert held.get(timeout=PATIENCE) == "held"
    assert worker.process.poll() is None
    go_on(worker)
    assert worker.wait() == 0
    assert waiting.state == "SUCCESS"


def test_ctrl_z_at_a_terminal(migrated_url: str, tmp_path: Path, eventually: Eventually) -> None:
    """The worker is not suspended: it gets quiet, says how to go on, and Ctrl-C stops it."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "LAVORO_DATABASE_URL": migrated_url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", AT_TERMINAL, "worker", "-A", "tests.worker.app", "-c", "1"]
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = bytearray()

        def until(text: str) -> None:
            def has_come() -> bool:
                if select.select([ours], [], [], 0)[0]:
                    shown.extend(os.read(ours, 4096))
                return text.encode() in shown

            eventually(has_come, timeout=PATIENCE, why=text)

        try:
            until(" ready: ")
            assert b"  pool       gevent, 1 process of 1 slot" in shown
            assert b"schema lavoro, PostgreSQL 1" in shown
            assert b"  schedules  0, sent by this worker too" in shown
            process.send_signal(signal.SIGUSR2)
            until("SIGUSR2: there is no remote debugger; SIGUSR1 logs the stacks of all processes")
            os.write(ours, b"\x1a")
            until(f"kill -CONT {process.pid} makes it claim again")
            process.send_signal(signal.SIGCONT)
            until("it claims tasks again")
            os.write(ours, b"\x03")
            until("stopped")
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            os.close(ours)
