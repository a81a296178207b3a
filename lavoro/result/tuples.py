"""Results from the tuples that describe them."""

from __future__ import annotations

from typing import Any

from lavoro import serialization
from lavoro.protocol.lineage import Lineage, leaves
from lavoro.runtime import current_app


def result_from_tuple(form: Any, app: Any = None) -> Any:
    """Return the ``AsyncResult`` or ``GroupResult`` that ``as_tuple`` has described; a result stays as it is."""
    app = current_app.get() if app is None else app
    lineage = []
    while form and not isinstance(form, Lineage):
        known, members = form
        id, form = known if isinstance(known, (list, tuple)) else (known, None)
        lineage.append((id, members))
    result = form if isinstance(form, Lineage) else None
    for id, members in reversed(lineage):  # the first parent first
        if members is None:
            result = app.AsyncResult(id, parent=result)
        else:
            result = app.GroupResult(id, [result_from_tuple(member, app) for member in members], parent=result)
    return result


def results_of(children: str | None, app: Any, site: Any) -> list[Any]:
    """Return the results that a task has stored as its children: ids, and the tuples of groups and chains."""
    if not children:
        return []
    forms = serialization.loads(children)
    made = [app.AsyncResult(form) if isinstance(form, str) else result_from_tuple(form, app) for form in forms]
    for child in leaves(made):
        child.site = site  # the application may serve several
    return made
