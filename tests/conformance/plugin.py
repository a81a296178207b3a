"""The pytest plugin that runs Celery's integration tests with a pool of Lavoro, and knows which fail."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import stand_ins  # noqa: F401  # before Celery's conftest is imported
from tests.conformance.listed import FOLDER, NOT_RUN, SOMETIMES, Entry, entry_for, read

POOL = os.environ["LAVORO_CONFORMANCE_POOL"]
LIMIT = 40
"""Seconds for one test; Celery's own limit is 300."""

pytest_plugins = ["celery.contrib.pytest"]


@pytest.fixture(scope="session")
def celery_parameters() -> dict[str, Any]:
    """Have the names completed in each process of the worker too, before the tasks are imported."""
    return {"include": ["tests.conformance.stand_ins"]}


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Any:
    """Replace the pool that Celery's conftest names, and a fixture of it that asks Kombu for the queues."""
    value: Any = None
    if fixturedef.argname == "celery_worker_pool":
        value = POOL
    elif fixturedef.argname == "ZZZZ_set_app_current":
        app = request.getfixturevalue("app")
        app.set_current()
        app.set_default()
        value = app
    if value is not None:
        fixturedef.cached_result = (value, fixturedef.cache_key(request), None)
    return value


entries = read()
needed: set[Entry] = set()
"""The entries that name a test which was collected."""


def _name(item: pytest.Item) -> str:
    return item.nodeid.removeprefix(f"{FOLDER}/")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out a file that is listed as a whole as not to be run: its imports may fail."""
    if (entry := entry_for(entries, collection_path.name, POOL)) and entry.sentence.startswith(NOT_RUN):
        needed.add(entry)
        return True
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test its limit, and expect to fail what the list names."""
    for item in items:
        item.add_marker(pytest.mark.timeout(LIMIT), append=False)
        if entry := entry_for(entries, _name(item), POOL):
            needed.add(entry)
            run = not entry.sentence.startswith(NOT_RUN)
            strict = not entry.sentence.startswith(SOMETIMES)
            item.add_marker(pytest.mark.xfail(reason=entry.sentence, strict=strict, run=run), append=False)


def unneeded(config: pytest.Config) -> list[Entry]:
    """Return the entries for this pool that name no test; none when only some of the tests are run."""
    if config.option.keyword or config.args != [FOLDER]:
        return []
    return [entry for entry in entries if POOL in entry.pools and entry not in needed]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail when an entry names no test."""
    if exitstatus == 0 and unneeded(session.config):
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Tell how many tests pass, and how many fail as listed."""
    stats = {name: len(reports) for name, reports in terminalreporter.stats.items()}
    tell = terminalreporter.write_line
    tell(
        f"Celery's integration tests, pool {POOL}: {stats.get('passed', 0)} passed,"
        f" {stats.get('failed', 0) + stats.get('error', 0)} failed, {stats.get('xfailed', 0)} expected to fail,"
        f" {stats.get('skipped', 0)} skipped"
    )
    for report in terminalreporter.stats.get("failed", ()):
        if "XPASS(strict)" in str(report.longrepr):
            tell(f"passes, and expected_failures.txt lists it: {report.nodeid.removeprefix(f'{FOLDER}/')}")
    for entry in unneeded(config):
        tell(f"no test has this name, and expected_failures.txt has it: {entry.pattern}")
