"""Fixtures every test may use: PostgreSQL servers, databases, and waiting without sleeping; how tests are spread."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import hypothesis
import pytest

from lavoro import log
from lavoro.runtime import current_app
from lavoro.text import commands
from tests.postgres import Cluster, temporary_cluster
from tests.stock import Stock

T = TypeVar("T")

# The same examples every time: a run that fails must fail again. HYPOTHESIS_PROFILE=default looks for new ones.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

MIGRATED_TEMPLATE = "lavoro_template"

SLOWEST = ("faults", "fuzz", "worker", "doors", "applications", "store", "api")
"""The folders that take long, longest first."""


def pytest_xdist_auto_num_workers() -> int:
    """Most tests wait for other processes, so each core takes two; each has a PostgreSQL server of its own."""
    return min(8, 2 * len(os.sched_getaffinity(0)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process is left alone with it at the end.

    A test whose name holds an id that was just made has another name in each process: pytest-xdist runs none then.
    """
    just_made = re.compile(f"{int(time.time() * 1000) >> 24:06x}[0-9a-f]{{2}}-[0-9a-f]{{4}}-7")  # of these four hours
    if nameless := [item.nodeid for item in items if just_made.search(item.name)]:
        raise pytest.UsageError(f"give these parameters a name, pytest.param(..., id=...): {', '.join(nameless)}")
    places = {folder: place for place, folder in enumerate(SLOWEST)}
    root = Path(__file__).parent
    items.sort(key=lambda item: places.get(item.path.relative_to(root).parts[0], len(places)))


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Iterator[Any]:
    """Let tests log and show what is no UTF-8: it is sent from process to process, escaped."""
    return _sendable((yield))


def _sendable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_sendable(key): _sendable(inner) for key, inner in value.items()}
    return type(value)(map(_sendable, value)) if type(value) in (list, tuple) else value


@pytest.fixture(autouse=True)
def nothing_of_other_tests() -> Iterator[None]:
    """Forget what other tests have defined for the whole process: shared tasks, and the application of commands."""
    shared = [*current_app.shared]
    commands.name_app("yourapp")
    yield
    current_app.shared[:] = shared


@pytest.fixture(autouse=True)
def no_handler_stays() -> Iterator[None]:
    """The root logger and that of tasks lose the handlers that a test has given to them: another test may look."""
    root, tasks = logging.getLogger(), log.TASKS
    before, level, propagate = {*root.handlers, *tasks.handlers}, tasks.level, tasks.propagate
    yield
    for logger in (root, tasks):
        for handler in [each for each in logger.handlers if each not in before or logger is tasks]:
            if not type(handler).__module__.startswith("_pytest"):  # those of pytest come and go at the root
                handler.close()
            elif logger is root:
                continue
            logger.removeHandler(handler)
    tasks.setLevel(level)
    tasks.propagate = propagate


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger; it and that of tasks get their handlers and levels back, and Python its warnings."""
    root = logging.getLogger()
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in (root, log.TASKS)]
    yield root
    for logger, handlers, level, propagate in before:
        for handler in set(logger.handlers) - set(handlers):
            handler.close()
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)
    logging.captureWarnings(False)


class Eventually(Protocol):
    """The type of the `eventually` fixture."""

    def __call__(self, condition: Callable[[], T], *, timeout: float = 60, why: str = "") -> T: ...


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The PostgreSQL server all tests share: never stop it, take `own_cluster` for that."""
    with temporary_cluster() as cluster:
        yield cluster


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A durable PostgreSQL server for this test alone, to be stopped, restarted and killed."""
    with temporary_cluster(durable=True) as cluster:
        yield cluster


@pytest.fixture
def database_url(cluster: Cluster) -> Iterator[str]:
    """The URL of a new, empty database."""
    name = cluster.create_database()
    yield cluster.url(name)
    cluster.drop_database(name)


@pytest.fixture(scope="session")
def migrated_template(cluster: Cluster) -> str:
    """The name of a database with Lavoro's schema, to be copied."""
    from lavoro.store.schema.migrate import migrate

    name = cluster.create_database(MIGRATED_TEMPLATE)
    migrate(cluster.url(name))
    # A database with sessions cannot be copied: end those the migration's pool may have kept, and let no more in.
    cluster.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    cluster.execute(f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = '{name}'")
    return name


@pytest.fixture(scope="session")
def stock(cluster: Cluster, migrated_template: str) -> Stock:
    """The databases that tests take in turn."""
    return Stock(cluster, migrated_template)


@pytest.fixture
def migrated_url(cluster: Cluster, stock: Stock) -> Iterator[str]:
    """The URL of a database with Lavoro's schema and no rows."""
    name = stock.take()
    yield cluster.url(name)
    stock.give_back(name)


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Wait until a condition holds, and return what it gave: `eventually(lambda: result.ready(), why="task ran")`."""

    def eventually(condition: Callable[[], T], *, timeout: float = 60, why: str = "") -> T:
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            if time.monotonic() > deadline:
                pytest.fail(f"Not within {timeout} s: {why or 'the condition'} (last value: {value!r})")
            time.sleep(0.01)
        return value

    return eventually
