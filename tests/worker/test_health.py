"""Health: `lavoro health` and the liveness file say whether a worker is well, and since when it is not."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lavoro import Lavoro
from tests import copies
from tests.conftest import Eventually
from tests.postgres import Cluster
from tests.worker.conftest import PATIENCE, ROOT, Ledger, StartWorker, rows, sending_to

Health = Callable[..., tuple[int, str]]


@pytest.fixture
def health() -> Health:
    """Run `lavoro health` as a probe would."""

    def health(*arguments: str, url: str) -> tuple[int, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LAVORO_")}
        environment |= {"LAVORO_DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
        done = copies.run("lavoro", "health", *arguments, environment=environment, folder=ROOT)
        (line,) = (done.stdout + done.stderr).splitlines()
        return done.returncode, line

    return health


def age(file: Path) -> float:
    return time.time() - file.stat().st_mtime


def test_the_database_tells(start_worker: StartWorker, migrated_url: str, health: Health) -> None:
    ask = ("-A", "tests.worker.app", "-n", "w1@host")
    assert health(*ask, url=migrated_url) == (1, "not well: w1@host has no process with a live lease")
    worker = start_worker("-n", "w1@host", "--processes", "2", url=migrated_url)
    code, line = health(*ask, url=migrated_url)
    assert code == 0
    assert line.startswith("w1@host is well: 2 processes, leases renewed ")
    assert health(*ask[:-1], "w2@host", url=migrated_url)[0] == 1
    assert worker.stop() == 0
    assert health(*ask, url=migrated_url)[0] == 1


def test_the_database_knows_that_idle_workers_renew_seldom(
    start_worker: StartWorker, migrated_url: str, sender: Lavoro, health: Health, eventually: Eventually
) -> None:
    """Here by 240 seconds longer than usual; after those of its beginning the next is in a quarter of an hour."""
    start_worker("-n", "w1@host", url=migrated_url, environment={"TEST_LEASE": "3600"})
    ask = ("-A", "tests.worker.app", "-n", "w1@host")
    silent = (
        "update lavoro.worker set seen_at = now() - interval '100 s', expires_at = now() - interval '100 s' + lease"
    )

    def said() -> str:
        rows(sender, silent)
        return health(*ask, url=migrated_url)[1]

    assert eventually(lambda: "has not renewed" in (line := said()) and line, timeout=PATIENCE, why="it has begun")
    assert re.fullmatch(r"not well: w1@host has not renewed a lease for 10\d s", said())
    rows(sender, f"{silent} + interval '240 s'")
    assert health(*ask, url=migrated_url)[0] == 0


def test_no_database(health: Health) -> None:
    code, line = health("-A", "tests.worker.app", url="postgresql://postgres@127.0.0.1:1/nowhere")
    assert code == 1
    assert line.startswith("lavoro: cannot connect to")


@pytest.mark.slow
def test_the_file_is_touched_while_all_is_well(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually,
    health: Health, tmp_path: Path,
) -> None:  # fmt: skip
    """A loop that is blocked lets it age, though the lease is renewed; an orderly end removes it."""
    file = tmp_path / "alive"
    ask = ("--liveness-file", str(file), "--max-age", "4")
    assert health(*ask, url=migrated_url) == (
        1,
        f"not well: there is no {file}; the worker has not begun, or has ended",
    )
    worker = start_worker("--liveness-file", str(file), url=migrated_url)
    eventually(file.exists, timeout=PATIENCE, why="the file is there")
    first = file.stat().st_mtime
    eventually(lambda: file.stat().st_mtime > first, timeout=PATIENCE, why="it is touched again")
    assert health(*ask, url=migrated_url)[0] == 0
    burning = sender.send_task("burn", [str(tmp_path / "gate")])
    eventually(lambda: ledger.starts(burning.id), timeout=PATIENCE, why="it blocks the loop")
    eventually(lambda: age(file) > 4, timeout=PATIENCE, why="the file gets old")
    code, line = health(*ask, url=migrated_url)
    assert code == 1
    assert line.startswith("not well: for ")
    (tmp_path / "gate").touch()
    assert burning.get(timeout=PATIENCE) == "burnt"
    eventually(lambda: age(file) < 2, timeout=PATIENCE, why="it is touched again")
    assert worker.stop() == 0
    assert not file.exists()


def test_the_file_gets_old_while_leases_are_not_renewed(
    own_cluster: Cluster, migrated_on_own: str, start_worker: StartWorker, eventually: Eventually, tmp_path: Path
) -> None:
    file = tmp_path / "alive"
    worker = start_worker("--liveness-file", str(file), url=migrated_on_own, environment={"TEST_LEASE": "6"})
    eventually(file.exists, timeout=PATIENCE, why="the file is there")
    own_cluster.stop()
    eventually(lambda: age(file) > 5, timeout=PATIENCE, why="the file gets old")
    own_cluster.start()
    with sending_to(migrated_on_own) as sender:
        assert sender.send_task("add", [1, 2]).get(timeout=PATIENCE) == 3
    eventually(lambda: age(file) < 2, timeout=PATIENCE, why="it is touched again")
    assert worker.stop() == 0


def test_a_killed_worker_leaves_it_to_age(
    start_worker: StartWorker, migrated_url: str, eventually: Eventually, tmp_path: Path
) -> None:
    file = tmp_path / "alive"
    worker = start_worker("--liveness-file", str(file), url=migrated_url)
    eventually(file.exists, timeout=PATIENCE, why="the file is there")
    worker.send(signal.SIGKILL)
    worker.wait()
    eventually(lambda: age(file) > 3, timeout=PATIENCE, why="nobody touches it")


def test_a_file_that_cannot_be_written(start_worker: StartWorker, migrated_url: str, sender: Lavoro) -> None:
    worker = start_worker("--liveness-file", "/proc/alive", url=migrated_url)
    worker.until("the liveness file /proc/alive cannot be written")
    assert sender.send_task("add", [1, 2]).get(timeout=PATIENCE) == 3
    assert worker.stop() == 0


@pytest.fixture
def migrated_on_own(own_cluster: Cluster) -> str:
    from lavoro.store.schema.migrate import migrate

    url = own_cluster.url(own_cluster.create_database())
    migrate(url)
    return url
