"""An application with commands of its own."""

from __future__ import annotations

import threading
from pathlib import Path
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


@inspect_command()
def odd(state: State, kind: str) -> Any:
    """Return what JSON cannot carry."""
    circle: list[Any] = []
    circle.append(circle)
    return {"keys": {(1, 2): "pair"}, "number": float("nan"), "circle": circle, "object": object}[kind]


@inspect_command()
def hangs(state: State) -> None:
    """Reply never."""
    threading.Event().wait(300)


@inspect_command()
def limits(state: State) -> Any:
    """Return the time limits of a task."""
    return [state.app.tasks["add"].soft_time_limit, state.app.tasks["add"].time_limit]


@control_command()
def double(state: State) -> str:
    """Change the node by what Celery's commands use."""
    state.consumer.pool.grow(2)
    state.consumer.controller.pool.shrink(1)
    state.consumer.add_task_queue("letters", exchange="letters")
    state.consumer.timer.call_after(1, print)
    return "not reached"


@control_command()
def note(state: State, path: str, number: int) -> int:
    """Write a line."""
    with Path(path).open("a") as file:
        file.write(f"{number}\n")
    return number
