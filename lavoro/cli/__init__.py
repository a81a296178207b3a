"""The command line: one module per verb; errors are one line on standard error."""

from __future__ import annotations

import sys

import click

import lavoro
from lavoro.cli.common import APP_OPTION
from lavoro.cli.migrate import migrate
from lavoro.cli.purge import purge
from lavoro.cli.status import status
from lavoro.cli.worker import worker
from lavoro.errors import LavoroError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "LAVORO"})
@APP_OPTION
@click.version_option(lavoro.__version__, prog_name="lavoro")
@click.pass_context
def cli(context: click.Context, app: str | None) -> None:
    """Run and look after the tasks of a Lavoro application."""
    context.obj = app


for verb in (worker, migrate, status, purge):
    cli.add_command(verb)


def main() -> None:
    """Run the command line; errors of Lavoro's are told in one line, with exit code 1."""
    try:
        cli(prog_name="lavoro")
    except LavoroError as error:
        details = getattr(error, "details", None)
        if details and "-v" in sys.argv:
            click.echo(details, err=True)
        click.echo(f"lavoro: {error}", err=True)
        sys.exit(1)
