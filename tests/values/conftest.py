"""Fixtures for values: nothing of the machine they are tested on shows."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_urls_in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAVORO_DATABASE_URL", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)
