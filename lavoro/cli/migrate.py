"""``lavoro migrate``: bring the database to this release's schema."""

from __future__ import annotations

from typing import NamedTuple

import click

from lavoro.cli.common import load_app
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import say, say_json
from lavoro.cli.schemas import json_option
from lavoro.store.schema import migrate as migrations
from lavoro.store.schema.roles import statements


class Migrated(NamedTuple):
    """The migrations that were applied."""

    schema: str
    applied: list[str]


@click.command(short_help="Create or update Lavoro's tables.")
@APP_OPTION
@click.option("--roles", is_flag=True, help="Only print the SQL that gives each role its rights.")
@json_option(Migrated)
@click.argument("brokers", metavar="", nargs=-1)
@click.pass_context
def migrate(context: click.Context, app: str | None, roles: bool, as_json: bool, brokers: tuple[str, ...]) -> None:
    """Create or update Lavoro's tables; safe to run at any time, by any number at once.

    With --roles nothing is changed: what is printed is for psql.
    """
    if brokers:
        raise click.UsageError(
            f"{brokers[0]!r}: this verb makes tables; it moves no messages between brokers: let the old workers finish"
            " theirs",
            context,
        )
    if roles:
        say(statements(load_app(context, app).conf.lavoro_schema))
        return
    database = load_app(context, app).database
    done = Migrated(database.schema, migrations.migrate(database))
    if as_json:
        say_json(done)
        return
    for name in done.applied:
        say(f"applied {name}")
    if not done.applied:
        say(f"schema {database.schema} is up to date")
