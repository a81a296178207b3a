"""Results from the tuples that describe them."""

from __future__ import annotations

from typing import Any

from lavoro.config import absent
from lavoro.result.async_result import AsyncResult


def result_from_tuple(form: Any, app: Any = None) -> AsyncResult[Any]:
    """Return the result that ``as_tuple`` has described; an ``AsyncResult`` stays as it is."""
    if isinstance(form, AsyncResult):
        return form
    known, children = form
    if children:
        absent.missing("lavoro.group")
    id, parent = known if isinstance(known, (list, tuple)) else (known, None)
    return AsyncResult(id, app=app, parent=result_from_tuple(parent, app) if parent else None)
