"""The application of the tests of eager mode."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lavoro import Lavoro


@pytest.fixture
def app() -> Iterator[Lavoro]:
    """An application that runs everything at once and has no database."""
    with Lavoro("eager", broker="postgresql://nobody@127.0.0.1:1/none", task_always_eager=True) as app:
        yield app
