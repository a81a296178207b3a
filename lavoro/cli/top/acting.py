"""The actions of keys: pause and resume queues, revoke running tasks, start failed ones again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from lavoro.app import Lavoro
from lavoro.cli.top.watching import Act
from lavoro.monitoring.top import SPAN, Failing, Queue, Running
from lavoro.store import queues
from lavoro.text.plural import counted


class Action(NamedTuple):
    """An action on a line."""

    question: str
    """Asked before; nothing for what can be undone."""
    act: Act


def _pause(app: Lavoro, row: Queue) -> Action:
    return Action("", partial(_resume_one if row.paused else _pause_one, app, row.name))


def _pause_one(app: Lavoro, name: str) -> str:
    queues.pause(app.database, [name])
    return f"paused: {name}"


def _resume_one(app: Lavoro, name: str) -> str:
    queues.resume(app.database, [name])
    return f"resumed: {name}"


def _revoke(app: Lavoro, row: Running) -> Action:
    def act() -> str:
        return f"{row.id}: {app.inspector.revoke(row.id, terminate=True).text}"

    return Action(f"End {row.name} {row.id} on {row.node}?", act)


def _retry_last(app: Lavoro, row: Failing) -> Action:
    def act() -> str:
        return f"{row.example}: {app.inspector.replay(row.example, state='FAILURE').text}"

    return Action(f"Start {row.name} {row.example} again?", act)


def _retry_all(app: Lavoro, row: Failing) -> Action:
    def act() -> str:
        chosen = app.inspector.where(
            stage="finished", state="FAILURE", name=row.name, error=row.error, since=dt.timedelta(seconds=SPAN)
        )
        return f"{counted(chosen.replay(state='FAILURE').done, 'task')} started again"

    return Action(f"Start all of {row.name} that failed with {row.error} in the last 15 minutes again?", act)


ACTIONS: Mapping[tuple[str, str], Callable[[Lavoro, Any], Action]] = {
    ("queues", "p"): _pause,
    ("running", "x"): _revoke,
    ("failing", "t"): _retry_last,
    ("failing", "T"): _retry_all,
}
"""By the table and the key."""
