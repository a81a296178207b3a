"""Start-up functions of the fleet: once over all workers of a release, whatever happens to these."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lavoro import Lavoro
from lavoro.application.release import release_of
from lavoro.testing import worker
from tests.conftest import Eventually
from tests.worker.conftest import Ledger, StartWorker, Worker

APP = "tests.worker.fleet"
NAME = f"{APP}.fill"
Start = Callable[..., Worker]


@pytest.fixture
def start(start_worker: StartWorker, migrated_url: str) -> Start:
    """Start a node of the application: `start("one")`."""

    def start(name: str, *arguments: str, **environment: str) -> Worker:
        command = ("-P", "threads", "-c", "1", "-n", name, *arguments)
        return start_worker(*command, url=migrated_url, app=APP, ready=False, environment=environment)

    return start


@pytest.fixture
def go(ledger: Ledger) -> Path:
    """A file for which the function waits."""
    return Path(f"{ledger.path}.go")


def names(ledger: Ledger) -> list[str]:
    return [line[0] for line in ledger.lines()]


def test_one_node_runs_it_and_the_others_wait(
    start: Start, ledger: Ledger, go: Path, sender: Lavoro, eventually: Eventually
) -> None:
    first = start("one@test")
    eventually(lambda: names(ledger) == ["begin"])
    result = sender.send_task("where")
    second = start("two@test")
    second.until(f"waiting for the start-up function {NAME}, which one@test/0 runs")
    assert names(ledger) == ["begin"]
    go.touch()
    for node in (first, second):
        node.until(" ready: ")
    result.get(timeout=60)
    assert first.log.count(f"the start-up function {NAME} has run for release ") == 1
    third = start("three@test")
    third.until(" ready: ")
    assert sorted(names(ledger)) == ["begin", "filled", "task", "worker", "worker", "worker"]
    assert names(ledger)[:2] == ["begin", "filled"]
    assert [node.stop() for node in (first, second, third)] == [0, 0, 0]


def test_another_node_takes_over_from_one_that_dies(
    start: Start, ledger: Ledger, go: Path, eventually: Eventually
) -> None:
    first = start("one@test", TEST_LEASE="2")
    eventually(lambda: names(ledger) == ["begin"])
    second = start("two@test", TEST_LEASE="2")
    second.until("which one@test/0 runs")
    children = first.children
    first.send(signal.SIGKILL)
    for child in children:
        child.kill()
    eventually(lambda: names(ledger) == ["begin", "begin"])
    go.touch()
    second.until(" ready: ")
    assert names(ledger) == ["begin", "begin", "filled", "worker"]
    assert second.stop() == 0


def test_a_release_runs_it_again(start: Start, ledger: Ledger, go: Path) -> None:
    go.touch()
    for release, runs in (("1.0", 1), ("1.0", 1), ("1.1", 2), ("1.0", 2)):
        node = start("one@test", RELEASE=release)
        node.until(" ready: ")
        assert node.stop() == 0
        assert names(ledger).count("filled") == runs


def test_a_failure_ends_each_node_that_tries(start: Start, ledger: Ledger) -> None:
    for runs in (1, 2):
        node = start("one@test", FAILS="yes")
        assert node.wait() == 1
        assert f"the start-up function {NAME} failed: ValueError: the fleet is to fail (" in node.log
        assert names(ledger) == ["begin"] * runs


def test_a_node_that_waits_stops_when_it_is_told(start: Start, ledger: Ledger, go: Path) -> None:
    first = start("one@test", "--grace", "0")
    second = start("two@test")
    waiting, running = (first, second) if _waits(first, second) is first else (second, first)
    processes = waiting.children
    waiting.send(signal.SIGTSTP)  # another order, which the process leaves unread
    waiting.until("SIGTSTP: quiet")
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.process.wait(2)
    assert waiting.children == processes
    begun = time.monotonic()
    assert waiting.stop() == 0
    assert time.monotonic() - begun < 20  # not the grace of 30 s
    go.touch()
    running.until(" ready: ")
    assert running.stop() == 0


def _waits(*nodes: Worker) -> Worker:
    """Return the node that waits for another."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for node in nodes:
            if "waiting for the start-up function" in node.log:
                return node
        time.sleep(0.05)
    raise AssertionError([node.log for node in nodes])


def test_the_fleet_comes_before_the_worker_and_the_process(migrated_url: str) -> None:
    app = Lavoro("inside", broker=migrated_url, set_as_current=False)
    noted: list[str] = []
    for scope in ("process", "worker", "fleet"):
        app.on_startup(scope=scope)(lambda scope=scope: noted.append(scope))
    for _ in range(2):
        with worker(app):
            pass
    assert noted == ["fleet", "worker", "process", "worker", "process"]
    app.close()


# The release


def test_the_release_is_told_by_the_setting_or_by_the_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "released.py").write_text("def start(): ...\n")
    import released  # type: ignore[import-not-found]

    app, other = (Lavoro("release", set_as_current=False) for _ in range(2))
    for each in (app, other):
        each.on_startup(scope="fleet")(released.start)
    first = release_of(app)
    assert first == release_of(other) != release_of(Lavoro("empty", set_as_current=False))
    (tmp_path / "released.py").write_text("def start(): print()\n")
    assert release_of(app) != first
    app.conf.lavoro_release = "2030.1"
    assert release_of(app) == "2030.1"
    del sys.modules["released"]
