"""A retry as a call: the user's own ``apply_async`` and ``send_task``, and receivers of signals, may change it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from lavoro import serialization, signals
from lavoro.calling.message_builder import retry_changes
from lavoro.calling.options import KEPT
from lavoro.exceptions import Retry
from lavoro.execution.context import Context
from lavoro.protocol.message import Message

_AGAIN = (*sorted(KEPT - {"gathers"}), "properties")
"""Options of the former try; results that it gathered are among its arguments."""


def changes_of_retry(
    task: Any, request: Context, retry: Retry, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None,
    options: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Return the overrides of a task's next try; only if user code may change them, it makes a call for that."""
    replaced = task.__binding__.sends_itself or task.app.replaced_send_task is not None
    watched = replaced or signals.before_task_publish or signals.after_task_publish
    if not watched or request.is_eager or request.job is None:
        return retry_changes(task, request, args, kwargs, options)
    resent: list[Message] = []
    vars(request)["resent"] = resent
    given = request.args if args is None else args, request.kwargs if kwargs is None else kwargs
    all_options = {**_kept(request), **options, **_time(retry), "retries": request.retries + 1, "add_to_parent": False}
    try:
        if task.__binding__.sends_itself:
            task.apply_async(*given, task_id=request.id, **all_options)
        else:
            task.app.send_task(
                task.name, *given, task_id=request.id, **all_options, result_cls=task.AsyncResult, task_type=task
            )
    finally:
        del vars(request)["resent"]
    return _changes(request, retry, resent[-1]) if resent else retry_changes(task, request, args, kwargs, options)


def _time(retry: Retry) -> dict[str, Any]:
    return {"eta" if isinstance(retry.when, dt.datetime) else "countdown": retry.when}


def _kept(request: Context) -> dict[str, Any]:
    """Return the options of the former try."""
    kept = {name: request.options[name] for name in _AGAIN if name in request.options}
    fields = {"queue": request.queue, "priority": request.priority, "expires": request.expires}
    headers = {"headers": request.headers} if request.headers else {}
    serializer = {"serializer": serialization.serializer_of(request.options.get("content_type"))}
    return {**kept, **fields, **headers, **serializer}


def _changes(request: Context, retry: Retry, message: Message) -> dict[str, Any]:
    retry.when = message.eta if message.eta is not None else message.countdown
    options = serialization.loads(message.options) if message.options else {}
    return {
        "queue": message.queue, "priority": message.priority, "expires": message.expires,
        "expires_in": message.expires_in, "args": message.args, "kwargs": message.kwargs or "{}",
        "payload": message.payload, "options": {**dict.fromkeys(request.options), **options},
    }  # fmt: skip
