"""``lavoro status``: show queues, waiting and running tasks, live workers, and what is wrong with schedules."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lavoro.cli.common import load_app
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import say
from lavoro.store.entries import Problem, problems
from lavoro.store.errors import translated
from lavoro.store.queues import QueueStatus, WorkerStatus, queue_status, worker_status
from lavoro.store.schema import migrate as migrations
from lavoro.text.printable import cut, plain

NOBODY = 69
"""Exit code when no worker is alive, as Celery's."""
SHOWN = 100
"""The most schedules with a problem that are shown."""
LONGEST = 1000
"""Characters of a cell: names of queues have up to 200 when Python sends the task, and no limit when SQL does."""


@click.command(short_help="Show queues and live workers.")
@APP_OPTION
@click.option("-j", "--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def status(context: click.Context, app: str | None, as_json: bool) -> None:
    """Show queues, live workers, and schedules with a problem; exit code 69 when no worker is alive."""
    found_app = load_app(context, app)
    database, place = found_app.database, found_app.database_shown
    migrations.check(database)
    with translated(), database.tx() as tx:
        queues, workers, schedules = queue_status(database), worker_status(database), problems(tx, limit=SHOWN)
    if as_json:
        rows: dict[str, Sequence[Any]] = {"queues": queues, "workers": workers, "schedules": schedules}
        found = {"database": place, **{name: [row._asdict() for row in several] for name, several in rows.items()}}
        say(json.dumps(found, default=str))
    else:
        say(f"database: {place}")
        first = _queues(queues) if queues else "no tasks wait or run"
        second = _workers(workers) if workers else "no live worker"
        Console().print(first, second, *[_schedules(schedules)] * bool(schedules), sep="\n")
    context.exit(0 if workers else NOBODY)


def _queues(rows: list[QueueStatus]) -> Table:
    marked, holding = any(row.paused or not row.served for row in rows), any(row.held for row in rows)
    titles = ["queue", "ready", "scheduled", *["held"] * holding, "running", "oldest", *["note"] * marked]
    table = Table(*titles, title="Queues")
    for row in rows:
        oldest = f"{row.oldest:.0f} s" if row.oldest is not None else ""
        marks = [", ".join(["paused"] * row.paused + ["no worker serves it"] * (not row.served))] * marked
        _add(
            table,
            row.queue,
            f"{row.ready:,}",
            f"{row.scheduled:,}",
            *[f"{row.held:,}"] * holding,
            f"{row.running:,}",
            oldest,
            *marks,
        )
    return table


def _workers(rows: list[WorkerStatus]) -> Table:
    table = Table("worker", "process", "pool", "busy", "queues", "seen", title="Workers")
    for row in rows:
        busy, seen = f"{row.running:,} of {row.slots}{', quiet' * row.quiet}", f"{row.seen:.0f} s ago"
        _add(table, row.node, f"{row.process} (pid {row.pid})", row.pool, busy, ", ".join(row.queues), seen)
    return table


def _schedules(rows: list[Problem]) -> Table:
    table = Table("schedule", "task", "problem", title="Schedules with a problem")
    for row in rows:
        _add(table, row.name, row.task, row.words)
    return table


def _add(table: Table, *cells: str) -> None:
    """Add a row of plain text: senders and workers choose these names, and brackets in them are no markup."""
    table.add_row(*[Text(plain(cut(cell, LONGEST))) for cell in cells])
