"""Calls the hooks of a task, the functions of its options ``before`` and ``after``, around a run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from lavoro.middleware.calls import RunCall
from lavoro.protocol.failure import release
from lavoro.text.printable import described

logger = logging.getLogger("lavoro.task")


def run_with_hooks(call: RunCall) -> Any:
    """Run a task between its hooks, which are called in their order.

    An error of one before it fails the task, and nothing more is called. An error of one after it is logged.
    """
    for hook in _hooks(call.task.before):
        hook(call)
    try:
        value = call.enter(*call.args, **call.kwargs)
    except BaseException as error:
        _call_after(call, None, error)
        raise
    _call_after(call, value, None)
    return value


def _hooks(given: Any) -> Sequence[Any]:
    """Return the hooks of an attribute; a method that a class of the application has under the name is none."""
    return given if isinstance(given, (tuple, list)) else ()


def _call_after(call: RunCall, value: Any, error: BaseException | None) -> None:
    for hook in _hooks(call.task.after):
        try:
            hook(call, value, error)
        except Exception as raised:
            logger.exception("hook %s of task %s[%s] raised", described(hook), call.name, call.request.id)
            release(raised)
