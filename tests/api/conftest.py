"""Fixtures of the public surface's tests: an application on a database of its own, and a running worker."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from lavoro import AsyncResult, Lavoro
from lavoro.runtime import current_app
from lavoro.store.tx import Tx
from tests import copies
from tests.api import tasks
from tests.api.by_hand import Hand, Statements
from tests.postgres import Cluster

Rows = Callable[..., list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def no_current_app() -> Iterator[None]:
    """What a test makes current is forgotten after it."""
    yield
    current_app.forget(current_app.get_existing())
    current_app._default = current_app._made = None
    current_app.missing_because = current_app.NONE_MADE


@pytest.fixture
def app(migrated_url: str) -> Iterator[Lavoro]:
    """An application on an empty database."""
    with Lavoro("shop", broker=migrated_url) as app:
        yield app


@pytest.fixture
def rows(migrated_url: str) -> Iterator[Rows]:
    """Read the waiting tasks, or what a statement selects, outside of the application."""
    with psycopg.connect(migrated_url, autocommit=True, row_factory=dict_row) as connection:

        def select(statement: str = "select * from lavoro.waiting order by id") -> list[dict[str, Any]]:
            return connection.execute(statement.encode()).fetchall()

        yield select


@pytest.fixture(scope="session")
def worker_url(cluster: Cluster, migrated_template: str) -> Iterator[str]:
    """The URL of the database that the worker serves."""
    name = cluster.create_database(template=migrated_template)
    yield cluster.url(name)
    cluster.drop_database(name)


@pytest.fixture(scope="session")
def worker_process(worker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A worker for all tests of the session, which must end in order; yields its log."""
    logfile = tmp_path_factory.mktemp("worker") / "log"
    command = ["lavoro", "worker", "-A", "tests.api.tasks", "-c", "10", "-l", "info"]
    environment = {**os.environ, "LAVORO_DATABASE_URL": worker_url}
    with logfile.open("wb") as log:
        process = copies.start(*command, environment=environment, folder=Path(__file__).parents[2], output=log)
    try:
        _connect_tasks(worker_url)
        assert tasks.ping.delay().get(timeout=60) == "pong", logfile.read_text()
        yield logfile
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0, logfile.read_text()
    finally:
        tasks.app.close()
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture
def worker(worker_process: Path, worker_url: str) -> Path:
    """The worker of `tests.api.tasks`, ready; its log."""
    _connect_tasks(worker_url)
    return worker_process


def _connect_tasks(url: str) -> None:
    tasks.app.conf.broker_url = url


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    """The statements that this process runs, counted by name from now on."""
    counted: Statements = Counter()
    execute = Tx.execute

    def counting(self: Tx, name: str, parameters: Any = None) -> Any:
        counted[name] += 1
        return execute(self, name, parameters)

    monkeypatch.setattr(Tx, "execute", counting)
    return counted


@pytest.fixture
def hand(app: Lavoro) -> Iterator[Hand]:
    hand = Hand(app)
    yield hand
    if hand.timer.ident:
        hand.timer.join()
    hand.tx.connection.close()


@pytest.fixture
def send(app: Lavoro) -> Callable[[int], list[AsyncResult[Any]]]:
    """Send so many tasks, which no worker takes."""

    @app.task(name="one")
    def one() -> int:
        return 1

    return lambda count: one.delay_many([()] * count)
