"""The row of a task in Celery's terms: its state, its value, its call."""

from __future__ import annotations

from typing import Any

from lavoro import serialization, states
from lavoro.exceptions import Reject, TaskError, TaskPredicate
from lavoro.store.results import Ended, StoredTask
from lavoro.text.printable import described

UNKNOWN = StoredTask._make([None] * len(StoredTask._fields))
"""All that is known of a task without a row."""


Known = StoredTask | Ended
"""The row of a task, or its outcome alone."""


def is_over(task: Known | None) -> bool:
    """Tell whether a task has ended, or has set a final state itself."""
    if isinstance(task, Ended):
        return True
    return task is not None and (task.stage == "finished" or task.state in states.READY_STATES)


def state_of(task: Known | None, app: Any, site: Any) -> str:
    """Return the state; that a task has started is told only where its application wants that to be known."""
    if task is None:
        return states.PENDING
    if isinstance(task, Ended) or task.stage != "running" or task.state is not None:
        return task.state or states.PENDING
    return states.STARTED if _tracks_start(task.name, app, site) else states.PENDING


def _tracks_start(name: str, app: Any, site: Any) -> bool:
    known = app.tasks.get(name)
    return bool(site.conf["task_track_started"] if known is None else known.track_started)


def value_of(task: Known | None, app: Any, site: Any) -> Any:
    """Return what the task has returned or raised, or the metadata of its state."""
    if task is None:
        return None
    if task.result is None:
        if isinstance(task, Ended):
            return None
        started = state_of(task, app, site) == states.STARTED
        return {"pid": task.pid, "hostname": task.worker} if started else None
    if task.result_payload is not None:
        return serialization.decode(task.result_payload, serialization.loads(task.result), _accepted(site))
    value = serialization.loads(task.result)
    failed = task.state in states.EXCEPTION_STATES and isinstance(value, dict) and "exc_type" in value
    return serialization.loads_exception(value) if failed else value


def call_of(task: StoredTask | None, site: Any) -> tuple[Any, Any]:
    """Return the arguments and the keyword arguments."""
    if task is None:
        return None, None
    if task.payload is not None:
        options = serialization.loads(task.options or "{}")
        args, kwargs = serialization.decode(task.payload, options["content_type"], _accepted(site))
        return args, kwargs
    return serialization.loads(task.args or "[]"), serialization.loads(task.kwargs or "{}")


def _accepted(site: Any) -> frozenset[str]:
    conf = site.conf
    return frozenset(conf.result_accept_content or conf.accept_content)


def raisable(error: BaseException, id: str) -> Exception:
    """Return what ``get`` raises: the task's exception, or a ``TaskError`` around one that would not stop there.

    SystemExit would end a web process because of what a row says; a Retry would start the task that waits again.
    """
    if isinstance(error, Exception) and (isinstance(error, Reject) or not isinstance(error, TaskPredicate)):
        return error
    wrapped = TaskError(f"task {id} ended with {described(error)}")
    wrapped.__cause__ = error
    return wrapped
