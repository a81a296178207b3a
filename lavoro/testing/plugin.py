"""Lavoro's plugin for pytest: `lavoro_app`, `lavoro_worker`, and what they are made of."""

from __future__ import annotations

from typing import Any

import pytest

from lavoro.testing.fixtures import fixtures

globals().update(fixtures("lavoro"))


@pytest.fixture
def depends_on_current_app(lavoro_app: Any) -> None:
    """Make the application of the test current."""
    lavoro_app.set_current()


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "lavoro(**settings): settings of the application of one test")
