"""Builds the message of a chain's next step from the builder of its task's plain calls: a fifth of the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lavoro.calling.message_builder import MessageBuilder, calling_task, extended
from lavoro.calling.watched import calls_are_watched
from lavoro.protocol.ids import task_uuid
from lavoro.protocol.message import Message

_KEYS = frozenset({"task", "args", "kwargs", "options", "subtask_type", "immutable"})
"""The keys of a signature of one task that has travelled."""
_OWN = frozenset({"task_id", "parent_id", "root_id"})
"""Options that a plain step may have."""
_WATCHING = ("task_always_eager", "task_inherit_parent_priority", "lavoro_signing_keys")
"""Settings that look at each single call, or change it."""


def step_message(
    app: Any, request: Any, step: Mapping[str, Any], rest: Sequence[Any], value: Any
) -> Message | None:  # fmt: skip
    """Return the message of the step that follows a run; None if the step is not plain, and has to send itself.

    A step is plain if it has no options of its own, and nothing looks at single calls, as for the members of a group.
    ``rest`` are the steps behind it, reversed. It inherits the barriers of the run, and so has no place.
    """
    if step.keys() != _KEYS or step["subtask_type"] is not None or not step["options"].keys() <= _OWN:
        return None
    task, own, kwargs, id = app.tasks.get(step["task"]), step["args"], step["kwargs"], step["options"].get("task_id")
    if task is None or id is None or type(own) is not list or type(kwargs) is not dict:
        return None
    if (builder := _builder(app, task)) is None or str(task_uuid(id)) != id:
        return None
    args = (*own,) if step["immutable"] else (value, *own)
    if task.typing and task.__arguments__ is not None:
        task.__arguments__.check(args, kwargs)
    more = {"parent_id": request.id, "root_id": request.root_id, "chain": rest or None}
    message = extended(builder, id, more).build(args, kwargs)
    caller = calling_task()
    if caller is not None and getattr(caller.declared, "trail", True):
        result = app.AsyncResult(id, task_name=task.name, app=app)
        if builder.ignored:
            result.ignored = True
        caller.children.append(result)
    return message


def _builder(app: Any, task: Any) -> MessageBuilder | None:
    """Return the builder of a task's plain calls; None if something looks at each call."""
    if calls_are_watched(app):
        return None
    conf, binding = app.conf, task.__binding__
    if any(conf[name] for name in _WATCHING):
        return None
    if binding.sends_itself or binding.names_itself or task.__models__ is not None:
        return None
    builder: MessageBuilder | None = app.site.builders.usual(task)
    return builder if builder is not None and builder.serializer == "json" and builder.place is None else None
