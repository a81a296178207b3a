"""``lavoro schedule``: list, change, run, check and write out schedules."""

from __future__ import annotations

import click

from lavoro.cli.options import APP_OPTION
from lavoro.cli.schedule.asking import history, listing, show, upcoming
from lavoro.cli.schedule.changing import add, backfill, delete, pause, resume, run
from lavoro.cli.schedule.deploying import check, export


@click.group(short_help="List, change, run and check schedules.")
@APP_OPTION
@click.pass_context
def schedule(context: click.Context, app: str | None) -> None:
    """List, change, run and check the schedules of periodic tasks."""
    context.obj = app or context.obj


for _command in (listing, show, upcoming, history, run, backfill, pause, resume, add, delete, check, export):
    schedule.add_command(_command)
