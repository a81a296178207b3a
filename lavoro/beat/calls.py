"""The call that a schedule makes: of a task or of a canvas, with arguments that may be computed now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lavoro.canvas.signature import maybe_signature
from lavoro.schedules.entry import BeatLazyFunc

CANVASES = frozenset({"celery.chain", "celery.group", "celery.chord"})


def call(app: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """Call a task by its name, known here or not, or a canvas; return its result."""
    if name in CANVASES:
        form = {
            "task": name, "args": args, "kwargs": kwargs, "options": {}, "subtask_type": name.partition(".")[2],
        }  # fmt: skip
        return maybe_signature(form, app=app).apply_async(**options)
    task = app.tasks.get(name)
    if task is None:
        return app.send_task(name, args, kwargs, **options)
    return task.apply_async(args, kwargs, **options)


def value_of(given: Any) -> Any:
    """Return an argument, or what its function (``BeatLazyFunc``) returns now."""
    return given() if isinstance(given, BeatLazyFunc) else given
