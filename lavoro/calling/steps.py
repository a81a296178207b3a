"""Builds the message of a chain's next step from the builder of its task's plain calls: a fifth of the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lavoro import serialization
from lavoro.calling.message_builder import MessageBuilder, calling_task, extended
from lavoro.calling.watched import calls_are_watched
from lavoro.protocol.ids import task_uuid
from lavoro.protocol.message import Message, Packed, pack_options

_KEYS = frozenset({"task", "args", "kwargs", "options", "subtask_type", "immutable"})
"""The keys of a signature of one task that has travelled."""
_OWN = frozenset({"task_id", "parent_id", "root_id"})
"""Options that a plain step may have."""
_CHAIN = '"chain":['
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
    options = _options(request, builder.extra, step, rest)
    message = extended(builder, id, options, len(rest)).build(args, kwargs)
    caller = calling_task()
    if caller is not None and getattr(caller.declared, "trail", True):
        result = app.AsyncResult(id, task_name=task.name, app=app)
        if builder.ignored:
            result.ignored = True
        caller.children.append(result)
    return message


def _options(request: Any, own: Mapping[str, Any], step: Mapping[str, Any], rest: Sequence[Any]) -> str | None:
    """Return the options of a step, with its chain as the last one."""
    options = {**own, "parent_id": request.id, "root_id": request.root_id}
    if not rest:
        return pack_options(options)
    chain = _text_of_rest(request, step) or serialization.dumps(rest)[1:-1]
    others = pack_options(options)
    text = Packed(f"{others[:-1] + ',' if others else '{'}{_CHAIN}{chain}]}}")
    if own:
        return str(text)  # a run reads a list where a tuple was written
    text.options = {**options, "chain": rest}
    return text


def _text_of_rest(request: Any, step: Mapping[str, Any]) -> str | None:
    """Return the steps behind the next one as they stand in the options of the run; None if these look otherwise.

    Writing them anew would take a microsecond for each.
    """
    text, fields = request.job and request.job.options, vars(request)
    if text is None or "chain" in fields:  # it was read, and may have been changed
        return None
    options = {name: value for name, value in request.options.items() if name != "chain"}
    head, tail = f"{serialization.dumps(options)[:-1]},{_CHAIN}", f",{serialization.dumps(step)}]}}"
    return text[len(head) : -len(tail)] if text.startswith(head) and text.endswith(tail) else None


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
    plain = builder is not None and builder.serializer == "json" and builder.place is None and builder.keys is None
    return builder if plain else None
