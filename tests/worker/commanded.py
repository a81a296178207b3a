"""An application with commands of its own."""

from __future__ import annotations

import threading
from typing import Any

from lavoro.control import State, control_command, inspect_command
from tests.worker.app import app

__all__ = ["app"]

SIZES: list[int] = []


@control_command(args=[("size", int)], signature="[SIZE]")
def resize_cache(state: State, size: int = 100) -> dict[str, Any]:
    """Change the size of the cache."""
    SIZES.append(size)
    return {"ok": f"{state.hostname}: {len(SIZES)} of {size}"}


@inspect_command(alias="threads")
def thread_names(state: State) -> list[str]:
    """List the names of threads."""
    return [thread.name for thread in threading.enumerate()]


@control_command()
def fails(state: State) -> None:
    """Fail."""
    raise KeyError("nothing there")
