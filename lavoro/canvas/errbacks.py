"""Tells the two kinds of error callbacks apart, as Celery does: by how many arguments their function takes."""

from __future__ import annotations

import inspect
from typing import Any

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


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
