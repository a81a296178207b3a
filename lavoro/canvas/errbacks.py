"""The error callbacks of a failed task, and the two kinds of them that Celery has."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lavoro.canvas.signature import as_list
from lavoro.execution.context import Context

ACCUMULATE = "celery.accumulate"
"""The task that is put before a body that is a group or a chord."""
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def called_by(request: Any) -> Iterator[tuple[Any, Sequence[Any]]]:
    """Yield the request of a failed task, and its error callbacks.

    If it stands before a body of several tasks, these are the results of the body, each with a request of its own.
    """
    steps = request.options.get("chain") or ()
    if request.task != ACCUMULATE or not steps:
        yield request, as_list(request.options.get("link_error"))
    else:
        for step in reversed(steps):
            results = list(_results_of(step))
            if any(errbacks or task["task"] != ACCUMULATE for task, errbacks in results):
                break  # else it is a chord whose own body is behind it
        for task, errbacks in results:
            options = task["options"]
            failed = Context(
                id=options.get("task_id"), task=task["task"], args=task["args"], kwargs=task["kwargs"],
                group=options.get("group_id"), group_index=options.get("group_index"), root_id=request.root_id,
                errbacks=errbacks, delivery_info={}, called_directly=False,
            )  # fmt: skip
            yield failed, errbacks


def _results_of(part: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], list[Any]]]:
    """Yield the signatures of the results of a part of a canvas, each with its error callbacks, none of them twice."""
    parts, own = part["kwargs"], as_list(part["options"].get("link_error"))
    match part["subtask_type"]:
        case "group":
            inner = parts["tasks"]
        case "chord":
            inner = [parts["body"]]
        case "chain" if parts["tasks"] and parts["tasks"][0]["task"] == ACCUMULATE:
            inner = parts["tasks"][-1:]
        case _:
            yield part, own
            return
    for each in inner:
        for task, errbacks in _results_of(each):
            yield task, [*errbacks, *(errback for errback in own if errback not in errbacks)]


def called_here(task: Any, errback: Any) -> bool:
    """Tell whether an error callback is called with ``(request, exc, traceback)``, in the worker of the failed task.

    Others are sent as tasks, with the id of the failed task: those of one argument, bound tasks and tasks of classes,
    which may then be retried. Arguments that the signature brings do not count.
    """
    if getattr(task, "__wrapped__", None) is None or task.__takes_task__:
        return False
    try:
        signature = inspect.signature(task.run)
    except (TypeError, ValueError):
        return False
    if any(each.kind is each.VAR_POSITIONAL for each in signature.parameters.values()):
        return True
    names = [name for name, each in signature.parameters.items() if each.kind in _POSITIONAL]
    bound = 0 if errback.immutable else len(errback.args) + sum(name in names for name in errback.kwargs)
    return len(names) - bound > 1
