"""Runs applications with Lavoro's import lines, and with Celery's through the alias: a worker, and a program."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import copies
from tests.applications.renaming import Table, copy
from tests.copies import Process

ROOT = Path(__file__).parents[2]
LIBRARIES = ("lavoro", "celery")


class Application:
    """An application in a folder of its own."""

    def __init__(self, library: str, folder: Path, url: str, *packages: Path, **environment: str) -> None:
        self._library, self._folder = library, folder
        paths = [*packages, ROOT / "compat", ROOT] if library == "celery" else [ROOT]
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "LAVORO_"))},
            "LAVORO_DATABASE_URL": url,
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self._folder_of_app = folder
        self._worker: Process | None = None

    def take(self, name: str) -> None:
        """Copy the application of this name, with the import lines of the library."""
        self._folder_of_app = copy(name, self._folder, Table() if self._library == "celery" else None)

    def start(self, *arguments: str) -> None:
        """Start a worker: ``start("-A", "app", "worker")``."""
        with self._log.open("wb") as log:
            self._worker = copies.start(
                self._library, *arguments, environment=self._environment, folder=self._folder_of_app, output=log
            )

    def use(self, *program: str) -> Any:
        """Run a program of the application to its end, and return what it printed, as JSON."""
        ended = copies.run(*program, environment=self._environment, folder=self._folder_of_app)
        assert ended.returncode == 0, f"{ended.stderr}\n{self.log()}"
        return json.loads(ended.stdout.splitlines()[-1])

    def log(self) -> str:
        """What the worker has written."""
        return self._log.read_text() if self._log.exists() else ""

    def stop(self) -> str:
        """Stop the worker in order, and return its log."""
        if self._worker is not None:
            self._worker.terminate()
            code = self._worker.wait(60)
            self._worker = None
            assert code == 0, self.log()
        return self.log()

    @property
    def _log(self) -> Path:
        return self._folder / "worker.log"


@pytest.fixture(params=LIBRARIES)
def application(request: pytest.FixtureRequest, tmp_path: Path, migrated_url: str) -> Iterator[Application]:
    """An application to be chosen by its name, once with Lavoro's import lines and once with Celery's."""
    application = Application(request.param, tmp_path, migrated_url)
    try:
        yield application
    finally:
        application.stop()
