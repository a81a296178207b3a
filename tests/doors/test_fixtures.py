"""The fixtures for pytest, Lavoro's and those with Celery's names, in projects of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CONFTEST = """
import os
import pytest

pytest_plugins = ["{plugin}"]

@pytest.fixture(scope="session")
def {prefix}_config():
    queue = os.environ.get("PYTEST_XDIST_WORKER", "q")
    return {{"broker_url": os.environ["DATABASE_URL"], "task_default_queue": queue}}

@pytest.fixture(scope="session")
def {prefix}_includes():
    return ["shop"]

@pytest.fixture(scope="session")
def {prefix}_class_tasks():
    from shop import Sum
    return [Sum]
"""
SHOP = """
from {package} import Task, shared_task

@shared_task
def add(x, y):
    return x + y

class Sum(Task):
    name = "sum"

    def run(self, numbers):
        return sum(numbers)
"""
TEST = """
import os
import pytest
from {package} import current_app
from shop import Sum, add

made = []

def test_worker_of_one_test({prefix}_app, {prefix}_worker):
    @{prefix}_app.task
    def where():
        return os.getpid()

    assert where.delay().get(timeout=30) == os.getpid()

def test_worker_of_the_session({prefix}_session_app, {prefix}_session_worker):
    assert add.delay(2, 3).get(timeout=30) == 5
    assert {prefix}_session_app.tasks["sum"].delay([1, 2, 3]).get(timeout=30) == 6

@pytest.mark.{prefix}(timezone="Europe/Rome")
def test_settings_of_one_test({prefix}_app):
    assert {prefix}_app.conf.timezone == "Europe/Rome"

def test_settings_of_another_test({prefix}_app, depends_on_current_app):
    assert {prefix}_app.conf.timezone == "UTC"
    assert current_app._get_current_object() is {prefix}_app
    made.append({prefix}_app)

def test_the_application_of_another_test_is_not_current():
    from lavoro.runtime import current_app
    assert current_app.get_existing() not in made
"""
PREFORK = """
import os

def test_processes({prefix}_session_app, {prefix}_session_worker):
    from shop import add
    assert not {prefix}_session_worker.inside
    assert add.delay(2, 3).get(timeout=30) == 5
    assert {prefix}_session_app.tasks["sum"].delay([1, 2, 3]).get(timeout=30) == 6
"""
TRAP = """
import pytest
from {package} import current_app

@pytest.fixture(scope="session")
def use_{prefix}_app_trap():
    return True

def test_the_trap({prefix}_app):
    with pytest.raises(RuntimeError, match="Test depends on current_app"):
        current_app.tasks
"""
NAMES = {
    "lavoro": {"prefix": "lavoro", "package": "lavoro", "plugin": "lavoro.testing.plugin"},
    "celery": {"prefix": "celery", "package": "celery", "plugin": "celery.contrib.pytest"},
}


def run(project: Path, url: str, prefix: str, *options: str, **files: str) -> str:
    """Run the tests of a project; return what pytest has written."""
    names = NAMES[prefix]
    for name, text in {"conftest": CONFTEST, "shop": SHOP, **files}.items():
        (project / f"{name}.py").write_text(text.format(**names))
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join(map(str, (project, ROOT / "compat", ROOT))),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers", *options]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("prefix", list(NAMES))
def test_workers_in_this_process(tmp_path: Path, migrated_url: str, prefix: str) -> None:
    assert "5 passed" in run(tmp_path, migrated_url, prefix, test_it=TEST)


def test_with_xdist_each_process_has_workers_of_its_own(tmp_path: Path, migrated_url: str) -> None:
    told = run(tmp_path, migrated_url, "lavoro", "-p", "xdist", "-n2", test_it=TEST, test_again=TEST)
    assert "10 passed" in told


@pytest.mark.parametrize("prefix", list(NAMES))
def test_a_worker_of_processes_makes_the_application_anew(tmp_path: Path, migrated_url: str, prefix: str) -> None:
    pool = CONFTEST + '\n@pytest.fixture(scope="session")\ndef {prefix}_worker_pool():\n    return "prefork"\n'
    assert "1 passed" in run(tmp_path, migrated_url, prefix, conftest=pool, test_it=PREFORK)


@pytest.mark.parametrize("prefix", list(NAMES))
def test_a_test_that_must_not_use_the_current_application(tmp_path: Path, migrated_url: str, prefix: str) -> None:
    assert "1 passed" in run(tmp_path, migrated_url, prefix, test_it=TRAP)


def test_the_plugin_loads_little() -> None:
    """Pytest loads it for each project that has Lavoro, also before gevent has patched."""
    code = "import sys, lavoro.testing.plugin; print([name for name in sys.modules if name in %r])"
    heavy = ("sqlalchemy", "psycopg", "gevent", "lavoro.app")
    done = subprocess.run([sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
