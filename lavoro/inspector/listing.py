"""Lists tasks, page by page."""

from __future__ import annotations

from lavoro import serialization
from lavoro.inspector.filters import cursor_of
from lavoro.inspector.values import Page, TaskInfo
from lavoro.store import browsing
from lavoro.store.browsing import SHOWN, Filter, Key, Listed
from lavoro.store.database import Database

MOST = 1_000
"""Most tasks of a page."""


def listed(database: Database, wanted: Filter, *, order: str, limit: int, after: Key | None) -> Page:
    """Read one page."""
    found = browsing.page(database, wanted, order=order, limit=limit, after=after)
    return Page(tuple(map(info_of, found.rows)), cursor_of(order, found.next), found.complete)


def info_of(row: Listed) -> TaskInfo:
    """Make a row of a list a value."""
    return TaskInfo(
        row.task_id, row.name, row.queue, row.stage, row.state, row.priority, row.attempt, row.retries, row.crashes,
        row.created, row.due, row.started, row.finished, row.expires, row.runtime, row.worker, _shown(row.args),
        _shown(row.kwargs), row.error, message_of(row.message), _shown(row.reason),
    )  # fmt: skip


def message_of(arguments: str | None) -> str | None:
    """Write the stored arguments of an exception as its text, as far as they are whole."""
    if arguments is None:
        return None
    try:
        values = serialization.loads(arguments)
    except ValueError:  # cut
        return _shown(arguments)
    return ", ".join(map(str, values)) if isinstance(values, list) else str(values)


def _shown(text: str | None) -> str | None:
    return text if text is None or len(text) <= SHOWN else f"{text[:SHOWN]}..."
