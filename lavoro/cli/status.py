"""``lavoro status``: show queues, waiting and running tasks, live workers, and what is wrong with schedules."""

from __future__ import annotations

from typing import Any, NamedTuple

import click

from lavoro.cli.common import load_migrated
from lavoro.cli.exits import Exit
from lavoro.cli.options import APP_OPTION, comma_separated, ignored
from lavoro.cli.output import say, say_json, show_table
from lavoro.cli.schemas import json_option
from lavoro.store.entries import Problem, problems
from lavoro.store.errors import translated
from lavoro.store.queues import QueueStatus, WorkerStatus, queue_status, worker_status

SHOWN = 100
"""The most schedules with a problem that are shown."""


class Status(NamedTuple):
    """All that the verb shows."""

    database: str
    queues: list[QueueStatus]
    workers: list[WorkerStatus]
    schedules: list[Problem]


@click.command(short_help="Show queues and live workers.")
@APP_OPTION
@click.option("-d", "--destination", callback=comma_separated, metavar="A,B", help="Only these nodes.")
@ignored("-t", "--timeout")
@json_option(Status)
@click.pass_context
def status(context: click.Context, app: str | None, destination: tuple[str, ...], as_json: bool) -> None:
    """Show queues, live workers, and schedules with a problem; exit code 69 when no worker is alive."""
    found = load_migrated(context, app)
    with translated(), found.database.tx() as tx:
        now = Status(
            found.database_shown,
            queue_status(found.database),
            [row for row in worker_status(found.database) if not destination or row.node in destination],
            problems(tx, limit=SHOWN),
        )
    say_json(now) if as_json else _show(now)
    context.exit(Exit.DONE if now.workers else Exit.NOBODY)


def _show(now: Status) -> None:
    say(f"database: {now.database}")
    show_queues(now.queues) if now.queues else say("no tasks wait or run")
    show_workers(now.workers) if now.workers else say("no live worker")
    if now.schedules:
        rows = [(row.name, row.task, row.words) for row in now.schedules]
        show_table(("schedule", "task", "problem"), rows, title="Schedules with a problem")


def show_queues(queues: list[QueueStatus]) -> None:
    """Print a table of queues; columns that say nothing are left out."""
    marked, holding = any(row.paused or not row.served for row in queues), any(row.held for row in queues)
    titles = ["queue", "ready", "scheduled", *["held"] * holding, "running", "oldest", *["note"] * marked]
    rows: list[list[Any]] = []
    for row in queues:
        oldest = f"{row.oldest:.0f} s" if row.oldest is not None else ""
        counts = [row.ready, row.scheduled, *[row.held] * holding, row.running]
        marks = [", ".join(["paused"] * row.paused + ["no worker serves it"] * (not row.served))] * marked
        rows.append([row.queue, *[f"{count:,}" for count in counts], oldest, *marks])
    show_table(titles, rows, title="Queues")


def show_workers(workers: list[WorkerStatus]) -> None:
    """Print a table of live processes."""
    rows = [
        (
            row.node, f"{row.process} (pid {row.pid})", row.pool,
            f"{row.running:,} of {row.slots}{', quiet' * row.quiet}", ", ".join(row.queues), f"{row.seen:.0f} s ago",
        )
        for row in workers
    ]  # fmt: skip
    show_table(("worker", "process", "pool", "busy", "queues", "seen"), rows, title="Workers")
