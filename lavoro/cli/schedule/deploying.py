"""The verbs for a deploy: ``check``, and ``export`` to take schedules elsewhere."""

from __future__ import annotations

from typing import Any

import click

from lavoro.beat import export as written
from lavoro.beat.check import Fault, faults_of_code, faults_of_database
from lavoro.cli.common import app_with_tasks
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import say, say_found, say_json
from lavoro.cli.schemas import json_option
from lavoro.text.printable import plain, plain_json


@click.command()
@APP_OPTION
@json_option(list[Fault])
@click.option("--code", is_flag=True, help="Only the entries of code, without the database.")
@click.pass_context
def check(context: click.Context, app: str | None, as_json: bool, code: bool) -> None:
    """Print what is wrong with schedules, in code and in the database; exit code 1 if something is.

    Wrong entries and rows, unknown tasks and zones, arguments that a task does not take, late schedules, and names that
    code and the database define in different ways.
    """
    found = app_with_tasks(context, app, database=not code)
    faults = [*faults_of_code(found)]
    if not code:
        with found.database.tx() as tx:
            faults += faults_of_database(found, tx)
    if as_json:
        say_json(faults)
    else:
        for fault in faults:
            say(plain(f"{fault.place}: {fault.name}: {fault.problem}"))
        say_found(len(faults))
    context.exit(1 if faults else 0)


@click.command()
@APP_OPTION
@json_option(dict[str, Any])
@click.option("--format", "kind", type=click.Choice(["python", "json", "sql"]), default="python", show_default=True)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.pass_context
def export(context: click.Context, app: str | None, as_json: bool, kind: str, names: tuple[str, ...]) -> None:
    """Print schedules, all or those named, as text that defines them again.

    Python is the setting beat_schedule, JSON is read by `add --from-file`, SQL by psql.
    """
    found = app_with_tasks(context, app)
    every = [found.schedules.get(name) for name in names] if names else [*found.schedules]
    kept = [each for each in every if not each.in_code]
    if left := [each.name for each in every if each.in_code]:
        say(plain(f"left out, only code has their times or arguments: {', '.join(left)}"), error=True)
    if as_json or kind == "json":
        say(plain_json(written.as_json(kept)))
    else:
        say(written.as_python(kept) if kind == "python" else written.as_sql(kept, found.database.schema))
