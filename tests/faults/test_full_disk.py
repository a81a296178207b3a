"""Row 24: the disk of the server is full for a while; nothing is taken for done that is not."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.faults.trial import Trial, seed_of
from tests.postgres import Cluster
from tests.worker.conftest import StartWorker

pytestmark = pytest.mark.slow

SIZE = "160m"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own, where one can be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="lavoro-small-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "tmpfs", folder], check=False)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
    folder.rmdir()


def test_full_disk(small_disk: Path, tmp_path: Path, start_worker: StartWorker) -> None:
    """Producers are told, workers wait; when there is room again all goes on, if need be after a restart."""
    cluster = Cluster(small_disk, durable=True)
    cluster.execute("alter system set max_wal_size = '48MB'")
    cluster.execute("select pg_reload_conf()")
    trial = Trial(cluster.url(cluster.create_database()), tmp_path, start_worker, seed=seed_of("full disk"))
    trial.prepare()
    worker = trial.worker("-c", "4")
    producer = trial.producer(kinds=("plain", "many", "retry"))
    for _ in range(20):
        producer.operate()
    ballast = small_disk / "ballast"
    fill(ballast)
    producer.pause = 0.01
    producer.start()
    trial.until(lambda: producer.failed >= 20, why="the disk is full")
    producer.stop()
    ballast.unlink()
    if not answers(trial):
        cluster.stop("immediate")
        cluster.start()
    trial.drain()
    assert worker.process.poll() is None
    trial.stop()
    trial.verify(slots=4)
    cluster.stop("immediate")


def fill(path: Path) -> None:
    """Write until there is no room."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:  # with a buffer, closing would fail too
        while True:
            file.write(b"\0" * 65_536)


def answers(trial: Trial) -> bool:
    """Whether the server takes connections."""
    try:
        return trial.rows("select 1") == [(1,)]
    except psycopg.OperationalError:
        return False
