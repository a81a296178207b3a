"""Public packages for Celery on the alias, brought by their source distributions: ``make celery-suite`` runs this."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.applications.conftest import ROOT, Application
from tests.celery_suite.source import fetch_named

ONCE = "celery-once==3.0.1 --hash=sha256:9098730d6a84a91ccd84868c4730a81487fd0ffb7220cb1836d2b928542159d0"
CONTEXT = "flask-celeryext==0.5.1 --hash=sha256:874b3ee0691ab6041aebcdcfc71f65e8074d4d53851ab93e62557ac5f22ecdcd"
CONTEXT_TESTS = "flask-celeryext==0.4.1 --hash=sha256:8f37c5b7afdbc3f4135c41d4b3dac3498faf4dbd681b19ffd91bc2f0a63d1d2b"
"""The last source distribution with the tests, which 0.5.1 has not changed; its code does not know today's Flask."""


@pytest.fixture
def application(tmp_path: Path, migrated_url: str) -> Iterator[Application]:
    """An application that imports the packages, which import ``celery``."""
    packages = [fetch_named(ONCE, "celery_once/"), fetch_named(CONTEXT, "flask_celeryext/")]
    locks = tmp_path / "locks"
    application = Application("celery", tmp_path, migrated_url, *packages, LOCKS=str(locks))
    try:
        yield application
    finally:
        application.stop()


def test_celery_once(application: Application) -> None:
    _queue_once(application, locks=4)


def test_celery_once_of_compat(tmp_path: Path, migrated_url: str) -> None:
    (locks := tmp_path / "locks").mkdir()
    application = Application("celery", tmp_path, migrated_url, LOCKS=str(locks))
    try:
        _queue_once(application, locks=0)
    finally:
        application.stop()


def _queue_once(application: Application, *, locks: int) -> None:
    application.take("queued_once")
    first = application.use("use.py")
    application.start("-A", "tasks", "worker", "-l", "INFO")
    then = application.use("use.py", *first.pop("ids"))
    assert first == {"refused": True, "graceful": ["EagerResult", "REJECTED"], "locks": locks}
    assert then == {"values": ["report of 2025", "2025 to ada", 2, "report of 2026", "report of 2025"]}
    log = application.stop()
    assert len(re.findall(r"Task tasks.collect\[.+\] retry: Retry in 0s: OSError\('not yet'\)\n", log)) == 2


def test_flask_celeryext(application: Application) -> None:
    application.take("context")
    application.start("-A", "web.celery", "worker", "-l", "INFO", "-P", "threads", "-c", "2")
    assert application.use("use.py") == [{"value": "often"}, {"value": ["hello", "GET", "x"]}]
    assert "a response of 200\n" in application.stop()


def test_the_tests_of_flask_celeryext() -> None:
    tests, package = fetch_named(CONTEXT_TESTS, "tests/"), fetch_named(CONTEXT, "flask_celeryext/")
    folders = (ROOT / "compat", ROOT, package)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", tests, "-p", "no:cacheprovider", "tests"],
        cwd=tests, env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert re.search(r"^7 passed", ended.stdout, re.MULTILINE), ended.stdout
