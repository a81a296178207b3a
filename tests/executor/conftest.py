"""Fixtures for running tasks without a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lavoro import Lavoro, signals


@pytest.fixture
def app() -> Lavoro:
    """An application that never meets its database."""
    return Lavoro("test", broker="postgresql://127.0.0.1:1/nowhere", set_as_current=False)


@pytest.fixture
def heard() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """The signals of tasks that were sent during the test, in order."""
    heard: list[tuple[str, dict[str, Any]]] = []
    names = ["prerun", "postrun", "success", "failure", "retry", "revoked", "rejected"]

    def hearing(name: str) -> Callable[..., None]:
        def hear(**named: Any) -> None:
            heard.append((name, named))

        return hear

    connected = [(getattr(signals, f"task_{name}"), hearing(f"task_{name}")) for name in names]
    for signal, receiver in connected:
        signal.connect(receiver)
    yield heard
    for signal, receiver in connected:
        signal.disconnect(receiver)
