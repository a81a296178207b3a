"""The verbs that show tasks: ``list`` and ``export``."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Any, TextIO

import click

from lavoro.app import Lavoro
from lavoro.cli.common import clock, load_migrated
from lavoro.cli.options import APP_OPTION, Output, writing
from lavoro.cli.output import as_json_line, note, progress, say, say_json, show_table
from lavoro.cli.schemas import json_option
from lavoro.cli.task.filters import conditions, filters
from lavoro.inspector import Page, TaskInfo
from lavoro.store.browsing import ORDERS
from lavoro.text.plural import counted
from lavoro.text.printable import cut

MESSAGE = 100
"""Characters of an error's message in a list."""


@click.command("list", short_help="List tasks, a page at a time.")
@APP_OPTION
@filters
@click.option("--order", type=click.Choice(ORDERS), default="newest", show_default=True, help="Which come first.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Tasks of a page.")
@click.option("--cursor", help="The place of the next page, as the page before says.")
@json_option(Page)
@click.pass_context
def listing(
    context: click.Context, /, app: str | None, order: str, limit: int, cursor: str | None, as_json: bool, **given: Any
) -> None:
    """List the tasks that match, a page at a time."""
    found = load_migrated(context, app)
    page = found.inspector.tasks(order=order, limit=limit, cursor=cursor, **conditions(found, given))
    if as_json:
        say_json(page)
        return
    zone = found.timezone
    rows = [
        (
            each.id, each.name, each.queue, _stage(each), clock(each.created.replace(microsecond=0), zone),
            each.attempts, each.worker or "", _why(each),
        )
        for each in page.items
    ]  # fmt: skip
    if rows:
        show_table(("id", "task", "queue", "stage", "sent", "starts", "worker", "why"), rows, whole="id")
    elif page.complete:
        say("no task matches" if cursor is None else "no more tasks match")
    if page.next is not None:
        early = "" if page.complete else "the page ends early, after 10,000 tasks that do not match; "
        note(f"{early}more: --cursor {page.next}")


def _stage(task: TaskInfo) -> str:
    return task.stage if task.state.lower() in (task.stage, "pending") else f"{task.stage} ({task.state})"


def _why(task: TaskInfo) -> str:
    """Return the error, else the reason why it waits or ends, else for how long it runs, by this machine's clock."""
    if task.error:
        return f"{task.error}: {cut(task.message, MESSAGE)}" if task.message else task.error
    if task.stage == "running" and task.started is not None:
        seconds = max(0.0, (dt.datetime.now(dt.timezone.utc) - task.started).total_seconds())
        return f"runs for {seconds:.0f} s{', and is told to end' if task.reason else ''}"
    return task.reason or ""


@click.command(short_help="Write tasks as JSON, one per line.")
@APP_OPTION
@filters
@click.option("-o", "--output", type=Output(), help="Write there instead of standard output.")
@json_option(list[TaskInfo])
@click.pass_context
def export(context: click.Context, /, app: str | None, output: str | None, as_json: bool, **given: Any) -> None:
    """Write the tasks that match, oldest first: one JSON object per line, or one array with --json."""
    found = load_migrated(context, app)
    wanted = conditions(found, given)
    if output is None:
        _write(found, wanted, sys.stdout, as_array=as_json, total=0)
        return
    with writing("--output"), Path(output).open("w", encoding="utf-8") as file:
        total = int(found.inspector.where(**wanted).count())
        written = _write(found, wanted, file, as_array=as_json, total=total)
    note(f"{counted(written, 'task')} written to {output}")


def _write(app: Lavoro, wanted: dict[str, Any], file: TextIO, *, as_array: bool, total: int) -> int:
    """Write the tasks as they come; return their number."""
    written = 0
    with progress(total, "Write tasks", shown=bool(total)) as bar:
        for task in app.inspector.iterate(order="oldest", **wanted):
            before = ("," if written else "[") if as_array else ""
            file.write(f"{before}{as_json_line(task)}\n")
            written += 1
            if bar is not None:
                bar.update(1)
    if as_array:
        file.write("]\n" if written else "[]\n")
    return written
