"""The tasks that every application has, under Celery's names: maps, and the parts of canvases as tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lavoro.canvas.chord import chord
from lavoro.canvas.group import group
from lavoro.canvas.maps import chunks
from lavoro.canvas.signature import maybe_signature
from lavoro.runtime import current_app


def _every(name: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make the function a task of every application."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        current_app.shared.append(lambda app: app.task(name=name, **options)(function))
        return function

    return add


@_every("celery.accumulate")
def accumulate(*args: Any, index: int | None = None) -> Any:
    """Return the arguments, or the one of an index."""
    return args if index is None else args[index]


@_every("celery.map", bind=True)
def xmap(self: Any, task: Any, it: Sequence[Any]) -> list[Any]:
    """Call a task for each item."""
    task = maybe_signature(task, app=self.app).type
    return [task(item) for item in it]


@_every("celery.starmap", bind=True)
def xstarmap(self: Any, task: Any, it: Sequence[Sequence[Any]]) -> list[Any]:
    """Call a task with the arguments of each item."""
    task = maybe_signature(task, app=self.app).type
    return [task(*item) for item in it]


@_every("celery.chunks", bind=True)
def send_chunks(self: Any, task: Any, it: Sequence[Any], n: int) -> Any:
    """Send many calls, ``n`` in each message."""
    return chunks.apply_chunks(maybe_signature(task, app=self.app), it, n, app=self.app)


@_every("celery.group", bind=True)
def send_group(
    self: Any, tasks: Sequence[Any], result: Any = None, group_id: str | None = None, partial_args: Any = (),
    add_to_parent: bool = True,
) -> Any:  # fmt: skip
    """Send a group."""
    members: group[Any] = group([maybe_signature(task, app=self.app) for task in tasks], app=self.app)
    return members.apply_async(partial_args, task_id=group_id, add_to_parent=add_to_parent)


@_every("celery.chain")
def send_chain(*args: Any, **kwargs: Any) -> None:
    """Refuse: a chain is sent as the message of its first step."""
    raise NotImplementedError("chain is not a real task")


@_every("celery.chord", bind=True)
def send_chord(self: Any, header: Any, body: Any, partial_args: Any = (), **options: Any) -> Any:
    """Send a chord."""
    tasks = header["kwargs"]["tasks"] if isinstance(header, Mapping) else header
    parts = [maybe_signature(task, app=self.app) for task in tasks]
    known = ("task_id", "kwargs")
    options = {name: value for name, value in options.items() if name in known}
    return chord(parts, maybe_signature(body, app=self.app), app=self.app).apply_async(partial_args, **options)


@_every("celery.chord_unlock")
def chord_unlock(*args: Any, **kwargs: Any) -> None:
    """Do nothing: the body of a chord starts in the transaction that ends the last task of its header."""


@_every("celery.backend_cleanup", bind=True)
def backend_cleanup(self: Any) -> None:
    """Do nothing: a worker drops old results."""
    self.app.backend.cleanup()
