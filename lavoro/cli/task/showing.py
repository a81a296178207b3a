"""``lavoro task show``: all that is stored of one task."""

from __future__ import annotations

import datetime as dt
from typing import Any, NamedTuple

import click

from lavoro import states
from lavoro.cli.common import clock, load_app
from lavoro.cli.exits import Exit, Failure
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import say, say_json
from lavoro.cli.schemas import json_option
from lavoro.protocol.ids import task_uuid
from lavoro.store import results
from lavoro.store.queues import workers_of
from lavoro.store.schema import migrate as migrations
from lavoro.text.printable import cut, plain

MOST = 2000
"""Characters of a value; --json shows all."""


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
    args: str | None
    """JSON text, as its kwargs, options and result are; None for another serializer."""
    kwargs: str | None
    options: str | None
    result: str | None
    traceback: str | None


@click.command(short_help="Show all of one task.")
@APP_OPTION
@json_option(Shown)
@click.argument("id")
@click.pass_context
def show(context: click.Context, app: str | None, as_json: bool, id: str) -> None:
    """Show all that is stored of a task, and why it waits."""
    found = load_app(context, app)
    migrations.check(found.database)
    with found.database.tx() as tx:
        stored = results.fetch(tx, task_uuid(id))
    if stored is None:
        raise Failure(f"no task {id!r} is stored: it was never sent, or its result has expired", Exit.UNKNOWN)
    state = stored.state or (states.STARTED if stored.stage == "running" else states.PENDING)
    task = Shown(
        id, stored.name, stored.stage, state, _why(found, stored), stored.queue, stored.attempt, stored.retries,
        stored.worker, stored.created, stored.started, stored.finished, stored.runtime, stored.args, stored.kwargs,
        stored.options, stored.result, stored.traceback,
    )  # fmt: skip
    if as_json:
        say_json(task)
        return
    for name, value in task._asdict().items():
        if name == "traceback" and value:
            say(f"traceback:\n{value}")
        elif value not in (None, ""):
            shown = clock(value, found.timezone) if isinstance(value, dt.datetime) else str(value)
            say(plain(f"{name + ':':<11}{cut(shown, MOST)}"))


def _why(app: Any, task: results.StoredTask) -> str:
    if task.stage == "running":
        return f"runs on {task.worker} (pid {task.pid})"
    if task.stage == "finished":
        return f"ended as {task.state}"
    if task.stage == "held" or task.reason:
        return task.reason or "is held"
    nodes, paused = workers_of(app.database, task.queue)
    if paused:
        return f"the queue {task.queue} is paused: lavoro queue resume"
    if not nodes:
        return f"no live worker serves the queue {task.queue}"
    return f"waits for {', '.join(nodes)}, or for its time"
