"""Flask projects for tests: files in a folder, imported here as the web process would, and served by real workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.request import Request, urlopen

import psutil
import pytest

from tests import copies
from tests.conftest import Eventually
from tests.postgres import Cluster, free_port

ROOT = Path(__file__).resolve().parents[2]
FLASK = (sys.executable, "-m", "flask")
LAVORO = (sys.executable, "-m", "lavoro")


class Site:
    """A project in a folder and the processes that were started there."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "LAVORO_"))},
            "LAVORO_DATABASE_URL": url,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def write(self, files: Mapping[str, str]) -> None:
        """Write files by their paths; the folders of modules become packages."""
        for path, text in files.items():
            file = self.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            for package in file.relative_to(self.folder).parents[:-1]:
                (self.folder / package / "__init__.py").touch()
            file.write_text(textwrap.dedent(text))

    def load(self, module: str) -> ModuleType:
        """Import a module of the project into this process."""
        return import_module(module)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Python to its end."""
        program = command[1:] if command[1] == "-c" else command[2:]
        return copies.run(*program, environment=self.environment, folder=self.folder)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a process that is stopped after the test, gently. It heeds Ctrl-C, though the tests may ignore it."""
        former = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
        with self._log.open("ab") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)
        signal.signal(signal.SIGINT, former)
        self._processes.append(process)
        return process

    def stop(self) -> None:
        """Stop all processes; each must end with exit code 0, as a worker told to stop does."""
        for process in self._processes:
            process.terminate()
        codes = [process.wait(60) for process in self._processes]
        self._processes.clear()
        assert set(codes) <= {0, -signal.SIGTERM, -signal.SIGKILL}, self.log()

    def log(self) -> str:
        """What the processes have said."""
        return self._log.read_text(errors="replace")

    @property
    def _log(self) -> Path:
        return self.folder / "processes.log"


class Web:
    """A web process of a site: ``flask run``."""

    def __init__(self, site: Site, app: str, eventually: Eventually, *options: str) -> None:
        self.port = free_port()
        self.process = site.start(*FLASK, "--app", app, "run", "--port", str(self.port), *options)
        self._eventually = eventually
        eventually(self.listens, timeout=60, why="the server listens")

    def listens(self) -> bool:
        """Whether it takes connections."""
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def get(self, path: str) -> Any:
        """Fetch what a path answers, as JSON."""
        return self._ask(Request(f"http://127.0.0.1:{self.port}{path}"))

    def post(self, path: str) -> Any:
        """Send an empty form and return what is answered, as JSON."""
        return self._ask(Request(f"http://127.0.0.1:{self.port}{path}", data=b""))

    def workers(self) -> list[psutil.Process]:
        """The workers that run below the process."""
        try:
            below = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [process for process in below if is_worker(process)]

    def worker(self) -> psutil.Process:
        """The one worker, when it is there."""
        (worker,) = self._eventually(self.workers, timeout=60, why="a worker")
        return worker

    def _ask(self, request: Request) -> Any:
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)


def is_worker(process: psutil.Process) -> bool:
    """Tell a worker's supervisor by its command."""
    try:
        return process.cmdline()[1:4] == ["-m", "lavoro", "worker"] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def site_in(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A project in an empty folder; afterwards its processes are stopped and its modules forgotten."""
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("LAVORO_DATABASE_URL", url)
    site = Site(folder, url)
    try:
        yield site
    finally:
        site.stop()
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None)).startswith(str(folder)):
                del sys.modules[name]


@contextmanager
def migrated_database(cluster: Cluster, template: str) -> Iterator[str]:
    """The URL of a migrated database, for fixtures that live longer than a test."""
    name = cluster.create_database(template=template)
    yield cluster.url(name)
    cluster.drop_database(name)
