"""``lavoro task show``: all that is stored of one task, with its earlier starts, and why it has not ended."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Any, NamedTuple

import click

from lavoro import states
from lavoro.app import Lavoro
from lavoro.cli.common import clock, load_migrated
from lavoro.cli.exits import Exit, Failure
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import say, say_json, show_table
from lavoro.cli.schemas import json_option
from lavoro.monitoring.reasons import why
from lavoro.protocol.ids import task_uuid
from lavoro.store import results
from lavoro.store.results import StoredTask
from lavoro.store.tx import Tx
from lavoro.text.printable import cut, plain

MOST = 2000
"""Characters of a value; --json shows all."""


class Start(NamedTuple):
    """An earlier start of the task, which ended without an outcome that was accepted."""

    number: int
    state: str
    """RETRY, LOST, or the outcome before an operator let it start again."""
    started: dt.datetime | None
    ended: dt.datetime
    worker: str | None
    reason: str | None
    error: str | None
    """JSON text of the exception."""
    traceback: str | None


class Shown(NamedTuple):
    """A task."""

    id: str
    name: str
    stage: str
    state: str
    why: str
    """Why it waits, what runs it, or how it ended."""
    queue: str
    starts: int
    retries: int
    worker: str | None
    created: dt.datetime
    started: dt.datetime | None
    finished: dt.datetime | None
    runtime: float | None
    parent: str | None
    """The task that sent it, and the first one of all."""
    root: str | None
    children: list[str]
    """The tasks that it has sent."""
    args: str | None
    """JSON text, as its kwargs, options and result are; None for another serializer."""
    kwargs: str | None
    options: str | None
    result: str | None
    traceback: str | None
    attempts: list[Start]
    """The earlier starts, oldest first."""


@click.command(short_help="Show all of one task.")
@APP_OPTION
@json_option(Shown)
@click.argument("id")
@click.pass_context
def show(context: click.Context, app: str | None, as_json: bool, id: str) -> None:
    """Show all that is stored of a task: why it waits, its earlier starts, and the tasks before and behind it."""
    found = load_migrated(context, app)
    with found.database.tx() as tx:
        task = _read(tx, id)
    say_json(task) if as_json else _print(found, task)


def _read(tx: Tx, id: str) -> Shown:
    key = task_uuid(id)
    stored = results.fetch(tx, key)
    if stored is None:
        raise Failure(f"no task {id!r} is stored: it was never sent, or its result has expired", Exit.UNKNOWN)
    state = stored.state or (states.STARTED if stored.stage == "running" else states.PENDING)
    parent, root = _ancestors(stored)
    return Shown(
        id, stored.name, stored.stage, state, why(tx, key, stored), stored.queue, stored.attempt, stored.retries,
        stored.worker, stored.created, stored.started, stored.finished, stored.runtime, parent, root,
        json.loads(stored.children or "[]"), stored.args, stored.kwargs, stored.options, stored.result,
        stored.traceback, _attempts(tx, key),
    )  # fmt: skip


def _ancestors(task: StoredTask) -> tuple[str | None, str | None]:
    """Return the ids of the task that sent this one, and of the first one, from the options of the call."""
    options = json.loads(task.options or "{}")
    return options.get("parent_id"), options.get("root_id")


def _attempts(tx: Tx, key: uuid.UUID) -> list[Start]:
    return [Start._make(row) for row in tx.run("fetch_attempts", {"id": key})]


def _print(app: Lavoro, task: Shown) -> None:
    for name, value in task._asdict().items():
        if name == "traceback" and value:
            say(f"traceback:\n{value}")
        elif name == "children" and value:
            say(plain(f"{name + ':':<11}{cut(', '.join(value), MOST)}"))
        elif name == "attempts":
            _print_attempts(app, value)
        elif value not in (None, "", []):
            shown = clock(value, app.timezone) if isinstance(value, dt.datetime) else str(value)
            say(plain(f"{name + ':':<11}{cut(shown, MOST)}"))


def _print_attempts(app: Lavoro, attempts: list[Start]) -> None:
    rows = [
        (
            each.number, each.state, _time(app, each.started), _time(app, each.ended), each.worker or "",
            each.reason or _error(each.error),
        )
        for each in attempts
    ]  # fmt: skip
    if rows:
        show_table(("start", "ended as", "started", "ended", "worker", "why"), rows, title="Earlier starts")


def _time(app: Lavoro, at: dt.datetime | None) -> str:
    return clock(at and at.replace(microsecond=0), app.timezone)


def _error(error: str | None) -> str:
    """Write a stored exception as its class and message."""
    found: Any = json.loads(error or "null")
    if not isinstance(found, dict):
        return ""
    said = found.get("exc_message")
    return f"{found.get('exc_type')}: {', '.join(map(str, said)) if isinstance(said, list) else said}"
