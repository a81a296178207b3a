"""Shows one task with all that is stored of it."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Any

from lavoro.exceptions import TaskNotFound
from lavoro.inspector.listing import info_of, message_of
from lavoro.inspector.values import Attempt, TaskDetail
from lavoro.monitoring.reasons import why
from lavoro.protocol.ids import task_uuid
from lavoro.store import browsing, results
from lavoro.store.browsing import Filter, Key
from lavoro.store.database import Database


def detail(database: Database, task_id: str) -> TaskDetail:
    """Read one task; raises ``TaskNotFound``."""
    id = task_uuid(task_id)
    with database.tx() as tx:
        found = results.fetch(tx, id)
        reason = "" if found is None else why(tx, id, found)
        attempts = results.attempts(tx, id)
    before = Key(uuid.UUID(int=id.int - 1)) if id.int else None
    rows = browsing.page(database, Filter(), order="oldest", limit=1, after=before).rows
    if found is None or not rows or rows[0].id != id:
        raise TaskNotFound(f"no task {task_id!r} is stored: it was never sent, or its result has expired")
    options = _object(found.options)
    return TaskDetail(
        replace(info_of(rows[0]), args=found.args, kwargs=found.kwargs), reason, tuple(map(_attempt, attempts)),
        tuple(json.loads(found.children or "[]")), found.result, found.traceback, found.options,
        options.get("parent_id"), options.get("root_id"),
    )  # fmt: skip


def _attempt(stored: results.Attempt) -> Attempt:
    error = _object(stored.error)
    said = error.get("exc_message")
    return Attempt(
        stored.number, stored.state, stored.started, stored.ended, stored.worker, stored.reason,
        error.get("exc_type"), None if said is None else message_of(json.dumps(said)), stored.traceback,
    )  # fmt: skip


def _object(text: str | None) -> dict[str, Any]:
    found = json.loads(text or "{}")
    return found if isinstance(found, dict) else {}
