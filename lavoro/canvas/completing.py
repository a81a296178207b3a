"""Ends a task from outside of a worker, as its own outcome would: with what follows it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from lavoro import serialization
from lavoro.canvas import continuation
from lavoro.protocol.ids import task_uuid
from lavoro.protocol.place import Follow
from lavoro.states import FAILURE, SUCCESS
from lavoro.store import results, tasks
from lavoro.store.tasks import Ended


def complete(app: Any, task_id: str, result: Any) -> bool:
    """End a task as SUCCESS; return whether it was there to end: unknown and finished tasks are not."""
    id = task_uuid(task_id)
    with app.database.tx() as tx:
        stored = results.fetch(tx, id)
    if stored is None or stored.stage == "finished":
        return False
    options = serialization.loads(stored.options) if stored.options else {}
    root = options.get("root_id") or task_id
    request = SimpleNamespace(job=None, options=options, id=task_id, root_id=root, priority=None)
    follow = continuation.follow(app, request, SUCCESS, result) or Follow()
    text, payload = _encoded(app, result)
    return _end(app, Ended(id, SUCCESS, text, payload), follow)


def fail(app: Any, task_id: str, error: BaseException) -> bool:
    """End a task as FAILURE; return whether it was there. A worker that knows it calls its handlers and errbacks."""
    return _end(app, Ended(task_uuid(task_id), FAILURE, serialization.dumps_exception(error)), Follow())


def _end(app: Any, ended: Ended, follow: Follow) -> bool:
    with app.database.tx() as tx:
        return tasks.end(tx, ended, follow)


def _encoded(app: Any, result: Any) -> tuple[str, bytes | None]:
    if (serializer := app.conf["result_serializer"]) == "json":
        return serialization.dumps(result), None
    encoded = serialization.encode(result, serializer)
    payload = encoded.data if isinstance(encoded.data, bytes) else encoded.data.encode()
    return serialization.dumps(encoded.content_type), payload
