"""The pytest plugin that gives Celery's unit tests their application, on PostgreSQL, and knows which must pass."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from tests.celery_suite.listed import FAILING, INTERNAL, LEFT_OUT, UNIT, Entry, entry_for, files_to_run, trim
from tests.celery_suite.stand_ins import Finder
from tests.celery_suite.tools import TOOLS

SOURCE = Path.cwd()
"""The folder of Celery's tests, in which pytest runs."""
sys.meta_path.insert(0, Finder(TOOLS))

from t.unit.conftest import (  # noqa: E402, F401  # Celery's own fixtures, those that need nothing of its inside
    AAA_disable_multiprocessing,
    assert_signal_called,
    environ,
    mask_modules,
    module,
    patching,
    record_threads_at_startup,
    restore_logging,
    sanity_logging_side_effects,
    sleepdeprived,
    threads_not_lingering,
)

from lavoro import Lavoro  # noqa: E402
from lavoro.runtime import current_app  # noqa: E402
from lavoro.signals import Signal  # noqa: E402
from lavoro.store.schema.migrate import migrate  # noqa: E402
from tests.celery_suite.stored import save_result  # noqa: E402
from tests.postgres import temporary_cluster  # noqa: E402


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of the database that all tests share."""
    with temporary_cluster() as cluster:
        migrate(cluster.url())
        yield cluster.url()


@pytest.fixture(scope="session")
def celery_config(postgres_url: str) -> dict[str, Any]:
    """The settings of Celery's tests that do not name a message broker."""
    _standard["broker_url"] = postgres_url
    return {"broker_url": postgres_url, "task_default_queue": "testcelery", "accept_content": ("json", "pickle")}


def new_app(
    name: str | None = None, config: dict[str, Any] | None = None, enable_logging: bool = False,
    set_as_current: bool = False, broker: str | None = None, backend: str | None = None, **options: Any,
) -> Lavoro:  # fmt: skip
    """Make an application as Celery's `TestApp` does."""
    app = Lavoro(name or "celery.tests", set_as_current=set_as_current, broker=broker, backend=backend, **options)
    app.add_defaults({**_standard, **(config or {})})
    return app


_standard: dict[str, Any] = {
    "worker_hijack_root_logger": False, "worker_log_color": False, "accept_content": {"json"}
}  # fmt: skip
"""The settings of each application."""


@pytest.fixture
def celery_app(request: pytest.FixtureRequest, celery_config: dict[str, Any]) -> Iterator[Lavoro]:
    """An application; afterwards no application is current, and shared tasks are those of before."""
    shared = [*current_app.shared]
    mark = request.node.get_closest_marker("celery")
    app = new_app(config={**celery_config, **(mark.kwargs if mark else {})})
    yield app
    app.close()
    current_app.forget(current_app.get_existing())
    current_app._default = current_app._made = None
    current_app.shared[:] = shared


@pytest.fixture
def app(celery_app: Lavoro) -> Lavoro:
    """The same, by another name."""
    return celery_app


@pytest.fixture
def depends_on_current_app(celery_app: Lavoro) -> None:
    """Make the application current."""
    celery_app.set_current()


@pytest.fixture(autouse=True)
def test_cases_shortcuts(request: pytest.FixtureRequest, app: Lavoro, celery_config: dict[str, Any]) -> None:
    """Give the instance of a test class what Celery's conftest gives it."""
    if request.instance:

        @app.task
        def add(x: Any, y: Any) -> Any:
            return x + y

        request.instance.app = app
        request.instance.Celery = new_app
        request.instance.assert_signal_called = assert_signal_called
        request.instance.CELERY_TEST_CONFIG = celery_config
        request.instance.add = add
        request.instance.patching = request.getfixturevalue("patching")


@pytest.fixture(autouse=True)
def results_are_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the helper of a test file that stores a result do so in PostgreSQL."""
    if hasattr(request.module, "save_result"):
        monkeypatch.setattr(request.module, "save_result", save_result)


@pytest.fixture(autouse=True)
def receivers_are_a_map(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the helper that compares the receivers of a signal with an empty list ask whether there are any."""
    if hasattr(request.cls, "_testIsClean"):

        def clean(_: object, signal: Signal) -> None:
            assert not signal.has_listeners()
            assert not signal.receivers

        monkeypatch.setattr(request.cls, "_testIsClean", clean)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that keeps the list short."""
    parser.addoption("--trim", action="store_true", help="take tests that pass out of failing.txt")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of Celery's own plugin."""
    config.addinivalue_line("markers", "celery(**settings): settings of the application of one test")


needed: set[Entry] = set()
"""The entries of the lists that name a test which was collected."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what one list names, and expect to fail what the other names."""
    kept, dropped = [], []
    for item in items:
        name = item.nodeid.removeprefix(UNIT)
        if entry := entry_for(LEFT_OUT, name):
            dropped.append(item)
        else:
            kept.append(item)
            if entry := entry_for(FAILING, name):
                item.add_marker(pytest.mark.xfail(reason=entry.sentence, strict=True))
        if entry:
            needed.add(entry)
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail when an entry names no test, if all files were to be run."""
    if exitstatus == 0 and unneeded(session.config):
        session.exitstatus = 1


def unneeded(config: pytest.Config) -> list[Entry]:
    """Return the entries that name no test; none when only some of the files are run."""
    if config.option.keyword or config.args != files_to_run(SOURCE):
        return []
    files = [str(file.relative_to(SOURCE / UNIT)) for file in (SOURCE / UNIT).rglob("test_*.py")]
    unused = [entry for entry in (*LEFT_OUT, *FAILING) if entry not in needed]
    return [entry for entry in unused if not any(fnmatchcase(file, entry.pattern) for file in files)]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Tell how many tests of public API pass, and how many differ as listed."""
    stats = terminalreporter.stats
    passed, listed = len(stats.get("passed", ())), [report.wasxfail for report in stats.get("xfailed", ())]
    internal = sum(sentence.startswith(INTERNAL) for sentence in listed)
    sentences = {sentence for sentence in listed if not sentence.startswith(INTERNAL)}
    failed = len(stats.get("failed", ())) + len(stats.get("error", ()))
    tell = terminalreporter.write_line
    differing = len(listed) - internal
    run = passed + failed + differing
    tell(f"Celery's tests of public API: {run} run, {passed} passed, {failed} failed,")
    tell(f"{differing} differ as {len(sentences)} sentences say; {internal} more use internals")
    passing = [report.nodeid.removeprefix(UNIT) for report in stats.get("failed", ()) if _passes(report)]
    for test in passing:
        tell(f"passes, and failing.txt lists it: {test}")
    if config.option.trim:
        trim(passing)
    for entry in unneeded(config):
        tell(f"no test has this name, and a list has it: {entry.pattern}")


def _passes(report: Any) -> bool:
    return "XPASS(strict)" in str(report.longrepr)
