"""Stores results of tasks that never ran, as Celery's tests do through its result backend."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from lavoro import serialization, states
from lavoro.protocol.ids import task_uuid

_FINISHED = text(
    "insert into lavoro.finished (id, state, queue, priority, attempt, retries, crashes, due_at,"
    " created_at, name, args,"
    " kwargs, result, traceback) values (:id, :state, 'celery', 0, 1, 0, 0, now(), now(), :name, '[]', '{}',"
    " cast(:result as json), :traceback)"
)
_WAITING = text(
    "insert into lavoro.waiting (id, queue, attempt, retries, name, args, kwargs)"
    " values (:id, 'celery', 1, 1, :name, '[]', '{}')"
)
_ATTEMPT = text(
    "insert into lavoro.attempt (id, number, state, error, traceback)"
    " values (:id, 1, :state, cast(:result as json), :traceback)"
)


def save_result(app: Any, task: dict[str, Any]) -> None:
    """Store one of the tasks that Celery's `mock_task` returns."""
    failed, result = task["state"] != states.SUCCESS, task["result"]
    row = {
        "id": task_uuid(task["id"]),
        "state": task["state"],
        "name": task["name"],
        "result": serialization.dumps_exception(result) if failed else serialization.dumps(result),
        "traceback": (task.get("traceback") or "Some traceback") if failed else None,
    }
    with app.database.engine.begin() as connection:
        if task["state"] == states.RETRY:
            connection.execute(_WAITING, row)
            connection.execute(_ATTEMPT, row)
        else:
            connection.execute(_FINISHED, row)
