"""Fixtures that start real workers."""

from __future__ import annotations

import contextlib
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lavoro import Lavoro
from lavoro.store.database import Database
from lavoro.store.tx import Tx
from tests import copies
from tests.conftest import Eventually
from tests.copies import Process
from tests.origin import COPIED_FOR_CHILDREN
from tests.postgres import Cluster

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds until a test gives up: much, for machines that have better things to do."""


class Ledger:
    """What tasks have noted, see tests/worker/app.py."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self, *words: str) -> list[list[str]]:
        """The lines that begin so, in words."""
        text = self.path.read_text() if self.path.exists() else ""
        return [line.split() for line in text.splitlines() if line.split()[: len(words)] == list(words)]

    def starts(self, id: str) -> int:
        """How often a task has started."""
        return len(self.lines("start", id))


class Worker:
    """A running `lavoro worker`."""

    def __init__(self, process: Process, log: Path, eventually: Eventually) -> None:
        self.process, self._log, self._eventually = process, log, eventually

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text()

    def until(self, text: str) -> None:
        """Wait until it has logged that."""
        self._eventually(lambda: text in self.log or self.process.poll() is not None, timeout=PATIENCE, why=text)
        assert text in self.log, self.log

    @property
    def children(self) -> list[psutil.Process]:
        """Its child processes that run tasks."""
        return [process for process, line in self._processes() if "lavoro.worker.child.child" in line]

    @property
    def processes(self) -> list[psutil.Process]:
        """All its child processes."""
        return [process for process, line in self._processes() if COPIED_FOR_CHILDREN not in line]

    def _processes(self) -> Iterator[tuple[psutil.Process, str]]:
        for process in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                yield process, " ".join(process.cmdline())

    def send(self, number: int) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """Stop it in order and return the exit code."""
        self.send(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Return the exit code."""
        return self.process.wait(PATIENCE)

    def destroy(self) -> None:
        """Leave nothing of it."""
        if self.process.poll() is not None:
            return  # its number may be another's by now
        everybody: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            supervisor = psutil.Process(self.process.pid)
            everybody = [supervisor, *supervisor.children(recursive=True)]
        for process in everybody:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(PATIENCE)


StartWorker = Callable[..., Worker]


@pytest.fixture
def tx(migrated_url: str) -> Iterator[Tx]:
    """A connection to the database of the test, in autocommit."""
    database = Database(migrated_url)
    with database.tx() as tx:
        yield tx
    database.dispose()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """What tasks note."""
    return Ledger(tmp_path / "ledger")


@contextlib.contextmanager
def workers(folder: Path, eventually: Eventually) -> Iterator[StartWorker]:
    """Lend a function that starts workers, and end them all."""
    started: list[Worker] = []

    def start(*arguments: str, url: str, ready: bool = True, app: str = "tests.worker.app", **options: Any) -> Worker:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LAVORO_")}
        environment |= {"LAVORO_DATABASE_URL": url, "PYTHONPATH": str(ROOT), "LEDGER": str(folder / "ledger")}
        environment |= options.pop("environment", {})
        log = folder / f"worker-{uuid.uuid4().hex[:8]}.log"
        command = ["lavoro", "worker", "-A", app, "-l", "info", *arguments]
        with log.open("wb") as file:
            process = copies.start(*command, environment=environment, folder=ROOT, output=file, **options)
        worker = Worker(process, log, eventually)
        started.append(worker)
        if ready:
            worker.until(" ready: ")
        return worker

    try:
        yield start
    finally:
        for worker in started:
            worker.destroy()


@pytest.fixture
def start_worker(tmp_path: Path, eventually: Eventually) -> Iterator[StartWorker]:
    """Start workers for this test: `start_worker("-c", "2", url=...)`."""
    with workers(tmp_path, eventually) as start:
        yield start


@pytest.fixture
def sender(migrated_url: str) -> Iterator[Lavoro]:
    """An application that sends tasks to the test's database by their names."""
    with sending_to(migrated_url) as app:
        yield app


@contextlib.contextmanager
def sending_to(url: str) -> Iterator[Lavoro]:
    """An application that sends tasks by their names."""
    app = Lavoro("sender", broker=url, set_as_current=False)
    try:
        yield app
    finally:
        app.close()


def rows(app: Lavoro, query: str) -> list[Any]:
    """Ask the database."""
    with app.database.engine.connect() as connection:
        result = connection.exec_driver_sql(query)
        return list(result.fetchall()) if result.returns_rows else []


@pytest.fixture(scope="module")
def module_url(cluster: Cluster, migrated_template: str) -> Iterator[str]:
    """A database that the tests of a module share."""
    name = cluster.create_database(template=migrated_template)
    yield cluster.url(name)
    cluster.drop_database(name)
