"""The pytest plugin that runs Celery's integration tests with a pool of Lavoro, and knows which fail."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import stand_ins  # noqa: F401  # before Celery's conftest is imported
from tests.conformance.listed import FOLDER, NOT_RUN, SOMETIMES, Entry, entry_for, read
from tests.conformance.outcomes import FAILED, LISTED, PASSED, SKIPPED, Outcomes

POOL = os.environ["LAVORO_CONFORMANCE_POOL"]
PART, PARTS = map(int, os.environ["LAVORO_CONFORMANCE_PART"].split("/"))
LIMIT = 40
"""Seconds for one test; Celery's own limit is 300."""
PATIENT = {
    "test_canvas.py::test_chord::test_enabling_flag_allow_error_cb_on_chord_header": 240,
    "test_canvas.py::test_chord::test_disabling_flag_allow_error_cb_on_chord_header": 240,
    "test_canvas.py::test_chord::test_flag_allow_error_cb_on_chord_header_on_upgraded_chord": 240,
}
"""The limits of tests that wait for two minutes, to see that nothing more happens."""

pytest_plugins = ["celery.contrib.pytest"]


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Any:
    """Replace the pool that Celery's conftest names, and a fixture of it that asks Kombu for the queues.

    Each process of the worker has the names completed too, before it imports the tasks.
    """
    value: Any = None
    if fixturedef.argname == "celery_worker_pool":
        value = POOL
    elif fixturedef.argname == "celery_parameters":
        value = {"include": ["tests.conformance.stand_ins"]}
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
found = Outcomes()


def _name(nodeid: str) -> str:
    return nodeid.removeprefix(f"{FOLDER}/")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out a file that is listed as a whole as not to be run: its imports may fail."""
    if (entry := entry_for(entries, collection_path.name, POOL)) and entry.sentence.startswith(NOT_RUN):
        needed.add(entry)
        found.tests[collection_path.name] = LISTED
        return True
    return None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test its limit, and keep those of this part: each goes to the part that has the least to do."""
    for item in items:
        name = _name(item.nodeid)
        item.add_marker(pytest.mark.timeout(PATIENT.get(name, LIMIT)), append=False)
        if entry := entry_for(entries, name, POOL):
            needed.add(entry)
            if entry.sentence.startswith(NOT_RUN):
                item.add_marker(pytest.mark.xfail(reason=entry.sentence, run=False), append=False)
    parts: list[list[pytest.Item]] = [[] for _ in range(PARTS)]
    seconds = [0.0] * PARTS
    for item in sorted(items, key=lambda item: -PATIENT.get(_name(item.nodeid), LIMIT)):
        idle = seconds.index(min(seconds))
        parts[idle].append(item)
        seconds[idle] += 150 if _name(item.nodeid) in PATIENT else 1.5
    items[:] = parts[PART]
    found.tests.update((_name(item.nodeid), PASSED) for item in items)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note the outcome of a test, or of a subtest; a failure of one that is listed is expected."""
    report = yield
    name = _name(item.nodeid)
    entry = None if item.config.option.runxfail else entry_for(entries, name, POOL)
    if report.failed and entry is not None:
        report.outcome, report.wasxfail = "skipped", entry.sentence
        found.tests[name] = LISTED
    elif report.failed:
        found.tests[name] = FAILED
    elif report.skipped and found.tests[name] == PASSED:
        found.tests[name] = LISTED if entry is not None else SKIPPED
    elif (
        report.when == "teardown" and found.tests[name] == PASSED and entry and not entry.sentence.startswith(SOMETIMES)
    ):
        found.passing.append(name)
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write what was found; fail when a listed test passes, or an entry names no test."""
    if not session.config.option.keyword and session.config.args == [FOLDER]:  # else only some of the tests are run
        found.unneeded = [entry.pattern for entry in entries if POOL in entry.pools and entry not in needed]
    found.save(Path(os.environ["LAVORO_CONFORMANCE_OUTCOMES"]))
    if exitstatus == 0 and (found.unneeded or found.passing):
        session.exitstatus = 1
