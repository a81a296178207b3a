"""Celery's plugin for pytest."""

from typing import Any

import pytest

from lavoro.testing.fixtures import NO_WORKER, fixtures

__all__ = ["NO_WORKER"]

globals().update(fixtures("celery"))


@pytest.fixture
def depends_on_current_app(celery_app: Any) -> None:
    """Make the application of the test current."""
    celery_app.set_current()


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "celery(**overrides): override celery configuration for a test case")
