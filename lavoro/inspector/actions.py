"""The actions on tasks, as values: for one task by its id, and for all that a filter matches."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from lavoro import states
from lavoro.config.defaults import PRIORITY
from lavoro.exceptions import InspectorError, QueueNotFound, TaskNotFound, WrongState
from lavoro.inspector.values import Done
from lavoro.protocol.ids import task_uuid
from lavoro.store import changing, results
from lavoro.store.changing import Acted
from lavoro.store.database import Database
from lavoro.store.results import StoredTask
from lavoro.store.tx import Tx
from lavoro.text.printable import described

WAITING = ("waiting", "scheduled")


class Action(NamedTuple):
    """A change of tasks."""

    name: str
    verb: str
    """In an error: "cannot VERB the task"."""
    past: str
    """In a report: "3 tasks PAST"."""
    stages: tuple[str, ...]
    """The stages of tasks that it changes."""
    advice: str
    """A sentence for a task in another state."""
    run: Callable[[Tx, Sequence[uuid.UUID]], Acted]
    states: tuple[str, ...] = ()
    """The states of tasks that it changes; empty: all."""


def run_now() -> Action:
    """Let tasks for later start at once."""
    return Action(
        "run_now", "run now", "due now", WAITING, "only one that waits can be made due; replay starts a finished one",
        partial(changing.change, now=True),
    )  # fmt: skip


def revoke(*, terminate: bool = False, signal: str = "SIGTERM") -> Action:
    """End tasks as REVOKED; those that run only with ``terminate``, else they may not start again."""
    cancel = json.dumps({"terminate": terminate, "signal": signal})
    return Action(
        "revoke", "revoke", "revoked", (*WAITING, "held", "running"), "it is over: delete removes it",
        partial(changing.revoke, cancel=cancel),
    )  # fmt: skip


def delete(*, cascade: bool = False) -> Action:
    """Delete tasks for good, also their outcomes."""
    return Action(
        "delete", "delete", "deleted", (*WAITING, "held", "finished"), "revoke it with terminate=True first",
        partial(changing.delete, cascade=cascade),
    )  # fmt: skip


def replay(*, state: str | Sequence[str] | None = None) -> Action:
    """Let finished tasks start again."""
    wanted = None if state is None else (state,) if isinstance(state, str) else tuple(state)
    return Action(
        "replay", "replay", "replayed", ("finished",),
        "only a finished task that did not succeed can be replayed; state='SUCCESS' replays a success",
        partial(changing.replay, states=wanted), wanted or (),
    )  # fmt: skip


def move(app: Any, queue: Any) -> Action:
    """Put tasks on another queue."""
    if not isinstance(queue, str) or not queue or "\0" in queue:
        raise InspectorError(f"queue is the name of a queue, not {described(queue, 100)}")
    if not app.conf["task_create_missing_queues"] and queue not in app.queues:
        raise QueueNotFound(f"there is no queue {queue!r}: task_queues has {', '.join(app.queues)}")
    return _change("move", "move", f"moved to {queue}", queue=queue)


def reprioritise(priority: int) -> Action:
    """Give tasks another priority."""
    if not PRIORITY.accepts(priority):
        raise InspectorError(f"priority is {PRIORITY.text}, not {described(priority, 100)}")
    return _change("reprioritise", "change the priority of", f"given the priority {priority}", priority=priority)


def reschedule(eta: Any) -> Action:
    """Let tasks start no earlier than at a time."""
    if isinstance(eta, dt.timedelta):
        eta = dt.datetime.now(dt.timezone.utc) + eta
    if not isinstance(eta, dt.datetime) or eta.tzinfo is None:
        raise InspectorError(f"eta is a time with a zone, or a timedelta from now, not {described(eta, 100)}")
    return _change("reschedule", "reschedule", f"rescheduled to {eta.isoformat(' ', 'seconds')}", due=eta)


def _change(name: str, verb: str, past: str, **changes: Any) -> Action:
    advice = "only a task that waits or is held can be changed; replay starts a finished one"
    return Action(name, verb, past, (*WAITING, "held"), advice, partial(changing.change, **changes))


def on_one(database: Database, task_id: str, action: Action) -> Done:
    """Do it with one task; raises ``TaskNotFound`` or ``WrongState``."""
    id = task_uuid(task_id)
    with database.tx() as tx:
        found = results.fetch(tx, id)
        if found is None:
            raise TaskNotFound(f"no task {task_id!r} is stored: it was never sent, or its result has expired")
        allowed = found.stage in action.stages  # "waiting" stands for "scheduled" in the table
        acted = action.run(tx, [id]) if allowed else Acted(frozenset())
        if id in acted.done:
            return Done(task_id, action.name, found.stage, state_of(found), action.past)
        if id in acted.asked:
            return Done(task_id, action.name, found.stage, state_of(found), "asked to end, or not to start again")
        if id in acted.awaited:
            raise _wrong(
                task_id, action, found, "others wait for it, and would fail: cascade=True deletes it all the same"
            )
        if allowed:  # it has moved meanwhile
            found = results.fetch(tx, id) or found
    raise _wrong(task_id, action, found, _why_not(action, found))


def state_of(found: StoredTask) -> str:
    """Return the state of a stored task."""
    return found.state or (states.STARTED if found.stage == "running" else states.PENDING)


def _wrong(task_id: str, action: Action, found: StoredTask, advice: str) -> WrongState:
    where = found.stage if state_of(found).lower() == found.stage else f"{found.stage} ({state_of(found)})"
    error = WrongState(f"cannot {action.verb} task {task_id}: it is {where}; {advice}")
    error.stage, error.state = found.stage, state_of(found)
    return error


def _why_not(action: Action, found: StoredTask) -> str:
    if found.stage == "held" and found.reason:
        return f"it {found.reason}"
    if action.name == "replay" and found.stage == "finished" and found.state != states.SUCCESS:
        if not found.queue or not found.name:
            return "its call is not stored, because it was never sent: replay the step of its chain that failed"
        if found.options and '"gathers"' in found.options:
            return "its header has failed, and it would gather the errors: replay the tasks of its header that failed"
    return action.advice
