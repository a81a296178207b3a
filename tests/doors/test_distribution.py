"""The distributions lavoro and lavoro-celery, built and installed as by users; none is used beside Celery."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")
PROJECT = """
from celery import Celery, shared_task

app = Celery("proj", include=["proj.tasks"])
"""
TASKS = """
from celery import shared_task
from celery.utils.log import get_task_logger

@shared_task(bind=True)
def add(self, x, y):
    get_task_logger(__name__).info("adds for %s", self.request.id)
    return [x + y, self.request.delivery_info["routing_key"]]
"""


class Environment:
    """A virtual environment without the repository on its path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))

    def run(self, *arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, or `python` with options, to its end."""
        return subprocess.run(
            self._command(arguments), cwd=cwd, env=self._variables(variables),
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    @contextmanager
    def running(self, *arguments: str, cwd: Path, **variables: str) -> Iterator[Path]:
        """Run a program until the end of the block, and give the file of what it writes."""
        log = cwd / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                self._command(arguments), cwd=cwd, env=self._variables(variables), stdout=file, stderr=file
            )
        try:
            yield log
        finally:
            process.terminate()
            code = process.wait(60)
        assert code == 0, log.read_text()

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [str(self.folder / "bin" / arguments[0]), *arguments[1:]]

    def _variables(self, added: dict[str, str]) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LAVORO", "CELERY"))
        }
        return {**kept, **added}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the two wheels; they are built of copies, because a build writes into its folder."""
    place = tmp_path_factory.mktemp("wheels")
    sources = place / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for folder in ("lavoro", "compat"):
        shutil.copytree(ROOT / folder, sources / folder, ignore=ignored)
    for file in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, sources)
    for folder in (sources, sources / "compat"):
        subprocess.run(
            [sys.executable, *PIP, "wheel", "--no-deps", "--wheel-dir", str(place), str(folder)],
            check=True,
            timeout=120,
        )
    return place


@pytest.fixture(scope="module")
def environment(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with both; what Lavoro needs is found in that of the tests."""
    environment = Environment(tmp_path_factory.mktemp("environment"))
    venv.create(environment.folder, with_pip=True)
    install = ("python", *PIP, "install", "--no-index", "--find-links", str(wheels))
    lavoro = environment.run(*install, "--no-deps", "lavoro", cwd=wheels)
    (environment.site / "needed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    celery = environment.run(*install, "lavoro-celery", cwd=wheels)
    assert (lavoro.stderr, celery.stderr) == ("", "")
    return environment


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the package proj."""
    package = tmp_path / "proj"
    package.mkdir()
    for name, text in {"__init__": "from proj.celery import app", "celery": PROJECT, "tasks": TASKS}.items():
        package.joinpath(f"{name}.py").write_text(text)
    return tmp_path


def test_command_celery_runs_tasks(environment: Environment, project: Path, migrated_url: str) -> None:
    said = environment.run(
        "python", "-c", "from celery import Celery, shared_task, current_app; print(Celery.__module__)", cwd=project
    )
    assert (said.stdout, said.stderr) == ("lavoro.app\n", "")
    url = {"LAVORO_DATABASE_URL": migrated_url}
    call = "from proj.tasks import add; print(add.apply_async((2, 3), queue='b').get(timeout=60))"
    with environment.running(
        "celery", "-A", "proj", "worker", "-l", "info", "-c", "4", "-Q", "a,b", cwd=project, **url
    ) as log:
        called = environment.run("python", "-c", call, cwd=project, **url)
        assert called.stdout == "[5, 'b']\n", f"{called.stderr}{log.read_text()}"
    assert re.search(r"INFO/.*\] proj.tasks.add\[(.+)\]: adds for \1\n", log.read_text())


def test_the_bases_of_other_packages_are_there(environment: Environment, project: Path) -> None:
    said = environment.run(
        "python", "-c", "from celery_once import AlreadyQueued, QueueOnce; from celery_singleton import Singleton;"
        " print(QueueOnce.__mro__[1] is Singleton.__mro__[1])", cwd=project
    )  # fmt: skip
    assert (said.stdout, said.stderr) == ("True\n", "")


def test_later_command_is_one_sentence(environment: Environment, project: Path) -> None:
    said = environment.run("celery", "-A", "proj", "amqp", cwd=project)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.startswith("lavoro: lavoro amqp: there is no message broker")
    assert said.stderr.count("\n") == 1


@pytest.fixture
def beside_celery(environment: Environment) -> Iterator[Environment]:
    """The same environment, in which pip has Celery listed."""
    listed = environment.site / "celery-5.7.0.dist-info"
    listed.mkdir()
    listed.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: celery\nVersion: 5.7.0\n")
    yield environment
    shutil.rmtree(listed)


BOTH = (
    "Celery 5.7.0 and lavoro-celery are both installed, and both are the import package celery:"
    " run `pip uninstall celery lavoro-celery`, then install one of them"
)


def test_import_beside_celery_is_refused(beside_celery: Environment, project: Path) -> None:
    said = beside_celery.run("python", "-c", "import celery", cwd=project)
    assert said.stderr.splitlines()[-1] == f"ImportError: {BOTH}"


def test_command_beside_celery_says_one_line(beside_celery: Environment, project: Path, migrated_url: str) -> None:
    said = beside_celery.run("celery", "-A", "proj", "worker", cwd=project, LAVORO_DATABASE_URL=migrated_url)
    assert said.returncode == 1
    assert said.stderr.count("\n") == 1
    assert BOTH in said.stderr


def test_build_for_an_environment_with_celery_is_refused(beside_celery: Environment, wheels: Path) -> None:
    said = beside_celery.run("python", *PIP, "install", str(wheels / "source" / "compat"), cwd=wheels)
    assert said.returncode == 1
    assert "lavoro-celery cannot be installed beside Celery" in said.stderr
