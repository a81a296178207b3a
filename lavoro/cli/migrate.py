"""``lavoro migrate``: bring the database to this release's schema."""

from __future__ import annotations

import click

from lavoro.cli.common import APP_OPTION, load_app
from lavoro.store import migrate as migrations


@click.command()
@APP_OPTION
@click.pass_context
def migrate(context: click.Context, app: str | None) -> None:
    """Create or update Lavoro's tables; safe to run at any time, by any number at once."""
    database = load_app(context, app).database
    applied = migrations.migrate(database)
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo(f"schema {database.schema} is up to date")
