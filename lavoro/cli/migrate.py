"""``lavoro migrate``: bring the database to this release's schema."""

from __future__ import annotations

import click

from lavoro.cli.common import load_app
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import say
from lavoro.store.schema import migrate as migrations
from lavoro.store.schema.roles import statements


@click.command(short_help="Create or update Lavoro's tables.")
@APP_OPTION
@click.option("--roles", is_flag=True, help="Only print the SQL that gives each role its rights.")
@click.pass_context
def migrate(context: click.Context, app: str | None, roles: bool) -> None:
    """Create or update Lavoro's tables; safe to run at any time, by any number at once.

    With --roles nothing is changed: what is printed is for psql.
    """
    if roles:
        say(statements(load_app(context, app).conf.lavoro_schema))
        return
    database = load_app(context, app).database
    applied = migrations.migrate(database)
    for name in applied:
        say(f"applied {name}")
    if not applied:
        say(f"schema {database.schema} is up to date")
