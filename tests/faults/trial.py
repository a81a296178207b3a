"""A trial: a database under audit, workers, producers and a ledger; at its end the checker has the last word."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from lavoro.store.schema.migrate import migrate
from tests.faults.checker import check
from tests.faults.history import History, Rules, history, install_audit
from tests.faults.ledger import Ledger, read
from tests.faults.producer import Producer
from tests.faults.violation import Violation
from tests.worker.conftest import PATIENCE, ROOT, StartWorker, Worker

thorough = pytest.mark.skipif("FAULTS_SEED" not in os.environ, reason="only `make faults` takes the time for this")
PLUGIN = Path(__file__).parent / "plugin"


def seed_of(name: str) -> int:
    """The seed of a test: the same each time, unless FAULTS_SEED asks for another."""
    return int(os.environ.get("FAULTS_SEED") or zlib.crc32(name.encode()))


class Trial:
    """Everything a scenario needs; ``url`` leads to the database, ``worker_url`` is what workers are told."""

    def __init__(self, url: str, folder: Path, start_worker: StartWorker, *, seed: int) -> None:
        self.url = self.worker_url = url
        self.folder, self.seed = folder, seed
        self._start_worker = start_worker
        self._ledgers = folder / "ledgers"
        self._ledgers.mkdir(exist_ok=True)
        self.ledger = Ledger(self._ledgers, "rig")
        self.workers: list[Worker] = []
        self.producers: list[Producer] = []
        self.gate = str(folder / "gate")
        """What `hold` waits for."""
        print(f"seed {seed} (FAULTS_SEED={seed} repeats it)")

    def prepare(self) -> None:
        """Make the tables, and have every change of them copied."""
        migrate(self.url)
        install_audit(self.url)

    # Who takes part

    def worker(
        self, *arguments: str, lease: float = 30.0, settings: dict[str, Any] | None = None, url: str | None = None,
        environment: dict[str, str] | None = None, ready: bool = True, **rig: Any,
    ) -> Worker:  # fmt: skip
        """Start a worker; ``rig`` is what is changed in it, see plugin/rig_changes.py."""
        variables = {
            "RIG_LEDGER": str(self._ledgers),
            "RIG_SETTINGS": json.dumps({"lavoro_lease": lease, **(settings or {})}),
            "LAVORO_RIG": json.dumps({"seed": self.seed, **rig}) if rig else "",
            "PYTHONPATH": os.pathsep.join(map(str, [ROOT, *([PLUGIN] if rig else [])])),
            **(environment or {}),
        }
        worker = self._start_worker(
            *arguments, url=url or self.worker_url, app="tests.faults.app", environment=variables, ready=ready,
        )  # fmt: skip
        self.workers.append(worker)
        return worker

    def producer(self, *, url: str | None = None, **options: Any) -> Producer:
        """A producer, which is closed with the trial."""
        seed = f"{self.seed}:{len(self.producers)}"
        producer = Producer(url or self.url, self.ledger, seed=seed, **options)
        self.producers.append(producer)
        return producer

    # Looking

    def rows(self, query: str) -> list[Any]:
        """Ask the database, past every fault."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def live(self) -> int:
        """How many tasks wait or run."""
        [[count]] = self.rows("select (select count(*) from lavoro.waiting) + (select count(*) from lavoro.running)")
        return int(count)

    def finished(self) -> int:
        """How many tasks are over."""
        [[count]] = self.rows("select count(*) from lavoro.finished")
        return int(count)

    def starts(self, id: str | None = None) -> list[Any]:
        """The starts so far, of one task or of all."""
        return [entry for entry in read(self._ledgers) if entry.kind == "start" and id in (None, entry.id)]

    def busy(self) -> list[int]:
        """The processes that are running tasks, as far as one can know."""
        entries = read(self._ledgers)
        over = {entry.token for entry in entries if entry.kind == "end"}
        pids = {entry.pid for entry in entries if entry.kind == "start" and entry.token not in over}
        return sorted(pid for pid in pids if psutil.pid_exists(pid))

    def until(self, condition: Callable[[], object], *, why: str, timeout: float = PATIENCE) -> None:
        """Wait for something; a database that is away is not it."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                if condition():
                    return
                last: object = "no"
            except psycopg.OperationalError as error:
                last = error
            assert time.monotonic() < deadline, f"not within {timeout} s: {why} ({last})\n{self.logs()[-8000:]}"
            time.sleep(0.02)

    def processes(self) -> list[psutil.Process]:
        """All processes of the workers that live."""
        found: list[psutil.Process] = []
        for worker in self.workers:
            if worker.process.poll() is not None:
                continue  # its number may be another's by now
            with contextlib.suppress(psutil.NoSuchProcess):
                supervisor = psutil.Process(worker.process.pid)
                found += [supervisor, *supervisor.children(recursive=True)]
        return found

    def promise(self, within: float, why: str, *, id: str | None = None) -> None:
        """From now on the task (None: any) must start within so many seconds; the checker looks."""
        self.ledger.write("promise", id=id, within=within, why=why)

    def logs(self) -> str:
        """What the workers have logged."""
        return "\n".join(f"-- {worker.process.pid}\n{worker.log}" for worker in self.workers)

    # The end

    def drain(self, timeout: float = PATIENCE) -> None:
        """Wait until nothing waits or runs any more."""
        self.until(lambda: self.live() == 0, why="everything is over", timeout=timeout)

    def open_gate(self) -> None:
        """Let every `hold` end."""
        Path(self.gate).touch()

    def stop(self) -> None:
        """End producers, and workers in order."""
        for producer in self.producers:
            producer.close()
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.send(signal.SIGTERM)
        for worker in self.workers:
            worker.wait()

    def history(self, **rules: Any) -> History:
        """All that is known."""
        return history(self.url, read(self._ledgers), Rules(**{"logs": self.logs(), **rules}))

    def violations(self, **rules: Any) -> list[Violation]:
        """What the checker finds."""
        return check(self.history(**rules))

    def verify(self, **rules: Any) -> History:
        """Fail with what the checker finds; return the history for further questions."""
        known = self.history(**rules)
        found = check(known)
        summary = "\n".join(map(str, found[:20]))
        assert not found, f"seed {self.seed}: {len(found)} violations\n{summary}\n{self.logs()[-8000:]}"
        return known
