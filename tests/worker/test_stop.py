"""Stopping: short tasks finish, long ones go back as they came, and the exit code is 0."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from sqlalchemy import make_url

import lavoro
from lavoro import Lavoro
from lavoro.store.url import masked
from lavoro.worker.supervisor.stopping import ECHO
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, Ledger, StartWorker, rows

WAITING = "select id::text, attempt, crashes, retries from lavoro.waiting order by due_at"
CLAIMERS = """
    select 1 from pg_stat_activity where datname = current_database() and application_name = 'lavoro-claimer'"""


@pytest.mark.parametrize("pool", ["gevent", pytest.param("threads", marks=pytest.mark.slow), "prefork"])
def test_warm_stop(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually,
    tmp_path: Path, pool: str,
) -> None:  # fmt: skip
    """TERM with short and long tasks: the short ones finish, the long ones go back at the front, uncounted."""
    grace, gate = 10, tmp_path / "gate"  # on a slow machine two short tasks need some seconds
    worker = start_worker("-P", pool, "-c", "4", "--grace", str(grace), url=migrated_url)
    short = [sender.send_task("hold", [str(gate)]).id for _ in range(2)]
    long = [sender.send_task("nap", [600]).id for _ in range(2)]
    eventually(lambda: all(ledger.starts(id) for id in [*short, *long]), timeout=PATIENCE, why="they run")
    late = [sender.send_task("nap", [0]).id for _ in range(3)]
    worker.send(signal.SIGTERM)
    worker.until("SIGTERM")
    eventually(lambda: not rows(sender, CLAIMERS), timeout=PATIENCE, why="nothing is claimed any more")
    gate.touch()
    assert worker.wait() == 0
    assert all(sender.AsyncResult(id).state == "SUCCESS" for id in short)
    assert rows(sender, WAITING) == [(id, 0, 0, 0) for id in [*long, *late]]
    assert rows(sender, "select * from lavoro.attempt") == []
    assert rows(sender, "select * from lavoro.running") == []


@pytest.mark.parametrize("signals", [["SIGTERM", "SIGTERM"], ["SIGINT", "SIGTERM"], ["SIGQUIT"]])
def test_cold_stop(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually,
    signals: list[str],
) -> None:  # fmt: skip
    """A second signal does not wait for the grace."""
    worker = start_worker("-c", "2", "--grace", "600", url=migrated_url)
    id = sender.send_task("nap", [600]).id
    eventually(lambda: ledger.starts(id), timeout=PATIENCE, why="it runs")
    for name in signals:
        worker.send(getattr(signal, name))
        worker.until(name)
        told = time.monotonic()
        eventually(lambda told=told: time.monotonic() > told + ECHO, timeout=PATIENCE, why="the next is another")
    assert worker.wait() == 0
    assert rows(sender, WAITING) == [(id, 0, 0, 0)]


@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM"])
def test_two_signals_at_once_are_one(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually,
    tmp_path: Path, first: str,
) -> None:  # fmt: skip
    """A terminal and a service manager both send one: what runs still gets its grace."""
    worker = start_worker("-c", "2", "--grace", "600", url=migrated_url)
    held = sender.send_task("hold", [str(tmp_path / "gate")])
    eventually(lambda: ledger.starts(held.id), timeout=PATIENCE, why="it runs")
    supervisor = psutil.Process(worker.process.pid)
    supervisor.suspend()  # so that both wait for it, however long this process takes to send them
    worker.send(getattr(signal, first))
    worker.send(signal.SIGTERM if first == "SIGINT" else signal.SIGINT)
    supervisor.resume()
    worker.until(": stopping, 1 task runs")
    (tmp_path / "gate").touch()
    assert worker.wait() == 0
    assert held.state == "SUCCESS"
    assert "stopping at once" not in worker.log


@pytest.mark.parametrize("style", ["text", "json"])
def test_what_a_worker_says_whatever_its_log_level_is(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually,
    tmp_path: Path, style: str,
) -> None:  # fmt: skip
    """Ready for what and on which database, stopping, stopped: in the log, be its lines text or JSON."""
    url = make_url(migrated_url).set(password="s3cret-word").render_as_string(hide_password=False)
    worker = start_worker("-n", "me@here", "-c", "2", "-l", "error", "--log-format", style, url=url)
    held = sender.send_task("hold", [str(tmp_path / "gate")])
    eventually(lambda: ledger.starts(held.id), timeout=PATIENCE, why="it runs")
    worker.send(signal.SIGINT)
    worker.until("SIGINT: stopping, 1 task runs; press Ctrl-C again to stop at once")
    (tmp_path / "gate").touch()
    assert worker.wait() == 0
    lines = worker.log.splitlines()
    if style == "json":
        lines = [json.loads(line)["message"] for line in lines]
    ready, stopping, stopped = lines
    database = masked(url)
    assert "***" in database
    assert "me@here ready: gevent, 1 process of 2 slots, 1 queue (celery), " in ready
    assert ready.endswith(f" tasks; Lavoro {lavoro.__version__}, app tests.worker.app, database {database}")
    assert "or wait for up to 30 s" in stopping
    assert stopped.endswith("stopped")


def test_stop_with_a_blocked_loop(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    """A loop that does not turn cannot obey; its task goes back uncounted all the same."""
    worker = start_worker("-c", "2", "--grace", "0.5", url=migrated_url)
    id = sender.send_task("burn", [str(tmp_path / "gate")]).id
    eventually(lambda: ledger.starts(id), timeout=PATIENCE, why="it runs")
    assert worker.stop() == 0
    assert rows(sender, WAITING) == [(id, 0, 0, 0)]


def test_stop_while_starting(
    start_worker: StartWorker, migrated_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    """While the application is being imported, however long that takes."""
    (tmp_path / "slow.py").write_text(
        f"import time, pathlib; pathlib.Path({str(tmp_path / 'here')!r}).touch(); time.sleep(600)"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    worker = start_worker(app="slow", url=migrated_url, ready=False, environment={"PYTHONPATH": path})
    eventually((tmp_path / "here").exists, timeout=PATIENCE, why="it is being imported")
    (child,) = worker.children
    assert worker.stop() == 0
    assert not child.is_running()


def test_stop_with_the_parent(start_worker: StartWorker, migrated_url: str) -> None:
    """An inherited descriptor that is closed says that whoever embedded the worker is gone."""
    theirs, ours = os.pipe()
    worker = start_worker("--parent-fd", str(theirs), url=migrated_url, pass_fds=(theirs,))
    os.close(theirs)
    os.close(ours)
    assert worker.wait() == 0


def test_reload(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    """HUP: new processes, one after the other, and nothing is lost or runs twice."""
    worker = start_worker("-c", "4", "--processes", "2", url=migrated_url)
    before = {child.pid for child in worker.children}
    held = [sender.send_task("hold", [str(tmp_path / "gate")]).id for _ in range(4)]
    eventually(lambda: all(ledger.starts(id) for id in held), timeout=PATIENCE, why="they run")
    worker.send(signal.SIGHUP)
    sent = [sender.send_task("add", [number, 1]) for number in range(50)]
    assert [result.get(timeout=PATIENCE) for result in sent] == list(range(1, 51))
    (tmp_path / "gate").touch()
    assert [sender.AsyncResult(id).get(timeout=PATIENCE) for id in held] == ["held"] * 4

    def replaced() -> bool:
        return len(worker.children) == 2 and not before & {child.pid for child in worker.children}

    eventually(replaced, timeout=PATIENCE, why="both are replaced")
    assert all(ledger.starts(id) == 1 for id in held)
    assert sender.send_task("where").get(timeout=PATIENCE) not in before
    assert worker.stop() == 0


@pytest.mark.parametrize("arguments", [["-P", "prefork", "-c", "1"], pytest.param(["-c", "3"], marks=pytest.mark.slow)])
def test_recycling_loses_nothing(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, arguments: list[str]
) -> None:
    worker = start_worker(*arguments, "--max-tasks-per-child", "4", url=migrated_url)
    sent = [sender.send_task("where") for _ in range(12)]
    pids = [result.get(timeout=PATIENCE) for result in sent]
    assert len(set(pids)) >= 2
    if "prefork" in arguments:
        assert sorted(pids.count(pid) for pid in set(pids)) == [4, 4, 4]
    assert rows(sender, "select * from lavoro.attempt") == []
    assert worker.stop() == 0


def test_recycling_by_memory(start_worker: StartWorker, sender: Lavoro, migrated_url: str) -> None:
    worker = start_worker("-P", "solo", "--max-memory-per-child", "1", url=migrated_url)
    first, second = (sender.send_task("where").get(timeout=PATIENCE) for _ in range(2))
    worker.until("is replaced after growing to")
    assert psutil.pid_exists(worker.process.pid)
    assert {first, second}
