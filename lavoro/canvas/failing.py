"""Ends tasks of a canvas in eager mode that cannot begin, because one before them has failed."""

from __future__ import annotations

from typing import Any

from lavoro.calling.eager import fail_eagerly
from lavoro.protocol.ids import uuid7
from lavoro.result import EagerResult
from lavoro.states import FAILURE


def failed(part: Any, error: Exception) -> Any:
    """End a part of a canvas: the tasks that it begins with call their error callbacks; return its result."""
    match part.subtask_type:
        case "chain" if part.tasks:
            first = failed(part.tasks[0], error)
            return first if len(part.tasks) == 1 else never(part.tasks[-1], first, error)
        case "group":
            return part.app.GroupResult(str(uuid7()), [failed(leaf, error) for leaf in part.leaves()])
        case "chord":
            return failed(part.body, error)
    return fail_eagerly(part.app, part.type, part.args, part.kwargs, part.options, error)


def never(step: Any, last: Any, error: Exception) -> EagerResult[Any]:
    """Return the result of a step that does not begin; nothing is called for it."""
    id = step.options.get("task_id") or str(uuid7())
    result = EagerResult[Any](id, error, getattr(last, "state", FAILURE), None, step.task, step.app)
    result.parent = last
    return result


def error_of(result: Any) -> Any:
    """Return the exception of a result that is none of a success, also ``Ignore`` and ``Reject``."""
    try:
        result.get(disable_sync_subtasks=False)
    except Exception as error:
        return error
    return result.result


def first_of(result: Any) -> Any:
    """Return the result that a result's parents lead to; a chord's body is one of several."""
    while result.parent is not None:
        result = result.parent
    return result
