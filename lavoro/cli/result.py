"""``lavoro result``: print the result of a task."""

from __future__ import annotations

from typing import Any, NamedTuple

import click

from lavoro import serialization
from lavoro.cli.common import load_app, load_tasks
from lavoro.cli.exits import Exit, Failure
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import say, say_json
from lavoro.cli.schemas import json_option
from lavoro.exceptions import TimeoutError
from lavoro.protocol.ids import task_uuid
from lavoro.store import results
from lavoro.store.schema import migrate as migrations
from lavoro.text.printable import plain, told


class Result(NamedTuple):
    """The outcome of a task."""

    task_id: str
    name: str | None
    state: str
    result: Any
    """None where it has failed."""
    error: str | None
    traceback: str | None


@click.command(short_help="Print the result of a task.")
@APP_OPTION
@click.option("-t", "--task", metavar="NAME", help="The task's name, where it has a class of results of its own.")
@click.option("--traceback", is_flag=True, help="The traceback instead.")
@click.option("--timeout", type=click.FloatRange(0), metavar="SECONDS", help="Wait no longer; default: until it ends.")
@json_option(Result)
@click.argument("task_id")
@click.pass_context
def result(
    context: click.Context, app: str | None, task: str | None, traceback: bool, timeout: float | None, as_json: bool,
    task_id: str,
) -> None:  # fmt: skip
    """Wait until a task has ended, and print what it returned.

    Exit code 3 if it has failed, 4 if it has not ended in time, 5 if there is no such task.
    """
    found = load_app(context, app)
    load_tasks(found)
    migrations.check(found.database)
    with found.database.tx() as tx:
        if results.fetch(tx, task_uuid(task_id)) is None:
            raise Failure(f"there is no task {task_id!r}: check the id; its result may have expired", Exit.UNKNOWN)
    if task is not None and task not in found.tasks:
        raise click.UsageError(f"--task: the application has no task {task!r}", context)
    waited = (found.tasks[task] if task else found).AsyncResult(task_id)
    try:
        value = waited.get(timeout=timeout, propagate=False, disable_sync_subtasks=False)
    except TimeoutError:
        raise Failure(f"task {task_id} has not ended: it is {waited.state}", Exit.STATE) from None
    error = f"{type(value).__name__}: {told(value)}" if isinstance(value, BaseException) else None
    if as_json:
        shown = None if error else serialization.loads(serialization.dumps(value))
        say_json(Result(task_id, waited.name, waited.state, shown, error, waited.traceback))
    elif traceback:
        say(waited.traceback or "")
    elif error is None:
        say(told(value))
    if error is not None and not (as_json or traceback):
        raise Failure(plain(f"task {task_id} ended as {waited.state}: {error}"), Exit.FAILED)
    context.exit(Exit.DONE if error is None else Exit.FAILED)
