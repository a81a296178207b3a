"""Connections: what user code does with its own, or others with theirs, keeps no lease, claim or finish waiting."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psycopg

from lavoro import Lavoro
from lavoro.store.schema.migrate import migrate
from tests.conftest import Eventually
from tests.postgres import Cluster
from tests.worker.conftest import PATIENCE, Ledger, StartWorker, sending_to

SEEN = "select seen_at from lavoro.worker where stopped_at is null"


def test_tasks_have_taken_the_whole_pool(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    """Tasks are claimed and finished all the same, and the lease is renewed: all that has connections of its own."""
    worker = start_worker("-c", "4", url=migrated_url, environment={"TEST_LEASE": "3"})
    greedy = sender.send_task("take_all_connections", [str(tmp_path / "gate")])
    eventually(lambda: ledger.lines("taken", greedy.id), timeout=PATIENCE, why="none is left in the pool")
    with sender.database.tx() as tx:
        (before,) = tx.connection.execute(SEEN).fetchone() or (None,)
        assert [sender.send_task("add", [n, 1]).get(timeout=PATIENCE) for n in range(20)] == list(range(1, 21))
        eventually(lambda: tx.connection.execute(SEEN).fetchone() != (before,), timeout=PATIENCE, why="it is renewed")
    (tmp_path / "gate").touch()
    assert greedy.get(timeout=PATIENCE) == "given back"
    assert worker.stop() == 0


def test_the_server_gives_no_more_connections(
    start_worker: StartWorker, own_cluster: Cluster, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    """Who has its connections needs no new ones; a worker that gets none waits for them."""
    own_cluster.execute("alter system set max_connections = 15")
    own_cluster.restart()
    url = own_cluster.url(own_cluster.create_database())
    migrate(url)
    worker = start_worker("-c", "4", url=url, environment={"TEST_LEASE": "3"})
    with sending_to(url) as app, contextlib.ExitStack() as stack, app.database.tx() as tx:
        held = [app.send_task("hold", [str(tmp_path / "gate")]).id for _ in range(4)]
        eventually(lambda: all(ledger.starts(id) for id in held), timeout=PATIENCE, why="they run")
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                stack.enter_context(contextlib.closing(psycopg.connect(url)))
        late = start_worker("-n", "late@host", url=url, ready=False)
        late.until("too many clients already")
        (before,) = tx.connection.execute(SEEN).fetchone() or (None,)
        eventually(lambda: tx.connection.execute(SEEN).fetchone() != (before,), timeout=PATIENCE, why="it is renewed")
        (tmp_path / "gate").touch()
        finished = "select count(*) from lavoro.finished where state = 'SUCCESS'"
        eventually(lambda: tx.connection.execute(finished).fetchone() == (4,), timeout=PATIENCE, why="they are stored")
        stack.close()
        late.until(" ready: ")
    assert worker.stop() == 0
    assert late.stop() == 0
    assert "Traceback" not in worker.log + late.log
