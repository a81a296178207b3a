"""``lavoro task``: list, show, count and change tasks."""

from __future__ import annotations

import click

from lavoro.cli.options import APP_OPTION
from lavoro.cli.task.asking import export, listing
from lavoro.cli.task.changing import delete, move, retry, revoke, run
from lavoro.cli.task.counting import count, failures
from lavoro.cli.task.showing import show


@click.group(short_help="List, show, count and change tasks.")
@APP_OPTION
@click.pass_context
def task(context: click.Context, app: str | None) -> None:
    """List, show, count and change tasks, by their ids or all that match."""
    context.obj = app or context.obj


for _command in (listing, show, count, failures, retry, revoke, delete, move, run, export):
    task.add_command(_command)
