"""The database goes away: nothing is lost, no process needs a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from lavoro.store.schema.migrate import migrate
from tests.conftest import Eventually
from tests.postgres import Cluster
from tests.worker.conftest import PATIENCE, Ledger, StartWorker, rows, sending_to


@pytest.fixture
def url(own_cluster: Cluster) -> str:
    """A migrated database on a server that may be stopped."""
    url = own_cluster.url(own_cluster.create_database())
    migrate(url)
    return url


def test_start_while_it_is_down(start_worker: StartWorker, own_cluster: Cluster, url: str) -> None:
    """Unless the settings say that it is to exit, see tests/doors/test_cli.py."""
    own_cluster.stop()
    worker = start_worker(url=url, ready=False)
    worker.until("trying again")
    own_cluster.start()
    worker.until(" ready: ")
    assert worker.stop() == 0


def test_stop_while_waiting_for_it(start_worker: StartWorker, own_cluster: Cluster, url: str) -> None:
    own_cluster.stop()
    worker = start_worker(url=url, ready=False)
    worker.until("trying again")
    assert worker.stop() == 0


def test_outage_longer_than_the_lease(
    start_worker: StartWorker, own_cluster: Cluster, url: str, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    """The worker ends what others may take over from then on, and goes on by itself when the database is back."""
    worker = start_worker("-c", "2", url=url, environment={"TEST_LEASE": "3"})
    with sending_to(url) as app:
        id = app.send_task("hold", [str(tmp_path / "gate")]).id
        eventually(lambda: ledger.starts(id), timeout=PATIENCE, why="it runs")
    (child,) = worker.children
    own_cluster.stop("immediate")
    worker.until("could not be renewed in time")
    eventually(lambda: not child.is_running(), timeout=PATIENCE, why="the child is ended")
    assert worker.process.poll() is None
    own_cluster.start()
    (tmp_path / "gate").touch()
    with sending_to(url) as app:
        assert app.AsyncResult(id).get(timeout=PATIENCE) == "held"
        assert rows(app, "select crashes from lavoro.finished") == [(0,)]
        assert rows(app, "select distinct reason from lavoro.attempt") == [("its lease could not be renewed",)]
    assert ledger.starts(id) == 2
    assert worker.stop() == 0


def test_stop_while_it_is_down(start_worker: StartWorker, own_cluster: Cluster, url: str) -> None:
    worker = start_worker("-c", "2", url=url)
    own_cluster.stop()
    assert worker.stop() == 0


def test_progress_decides_no_outcome(
    start_worker: StartWorker, own_cluster: Cluster, url: str, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    """It is tried again and dropped, and the task goes on; later progress is stored as ever."""
    worker = start_worker("-P", "threads", "-c", "1", url=url)
    with sending_to(url) as app:
        task = app.send_task("report", [str(tmp_path / "gate")])
        eventually(lambda: ledger.starts(task.id), timeout=PATIENCE, why="it runs")
        own_cluster.stop("immediate")
        (tmp_path / "gate").touch()
        eventually(lambda: ledger.lines("reported", task.id), timeout=PATIENCE, why="it goes on")
        own_cluster.start()
        assert task.get(timeout=PATIENCE) == "done"
    assert worker.log.count("cannot be stored and is dropped: ") == 1
    assert worker.stop() == 0
