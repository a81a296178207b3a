"""Loads the application that ``-A`` names, and writes times, for all verbs."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

import click

from lavoro.app import Lavoro
from lavoro.cli.options import app_name
from lavoro.cli.output import say
from lavoro.discovery import ambiguity, find_app
from lavoro.exceptions import LavoroError
from lavoro.store.schema import migrate as migrations
from lavoro.text import commands


def load_app(context: click.Context, app: str | None) -> Lavoro:
    """Import the application that was named, unless it is at hand already.

    An error in its module is told in one line.
    """
    if isinstance(context.obj, Lavoro):
        return context.obj
    sys.path.insert(0, str(Path.cwd()))
    name = app_name(context, app)
    try:
        found = find_app(name)
    except LavoroError:
        raise
    except Exception as error:
        raise click.ClickException(f"{name!r} could not be imported: {type(error).__name__}: {error}") from error
    commands.name_app(name)  # again: the import of a Flask application has set Flask's own commands
    if doubt := ambiguity(name, found):
        say(f"lavoro: {doubt}", error=True)
    return found


def load_migrated(context: click.Context, app: str | None) -> Lavoro:
    """Load an application as ``load_app``; raises ``SchemaOutdated`` unless its database is this release's."""
    found = load_app(context, app)
    migrations.check(found.database)
    return found


def load_tasks(app: Lavoro) -> None:
    """Import the modules of the application's tasks; an error in one of them is told in one line."""
    try:
        app.import_modules()
        app.finalize(auto=True)
    except LavoroError:
        raise
    except Exception as error:
        raise click.ClickException(
            f"the modules of tasks could not be imported: {type(error).__name__}: {error}"
        ) from error


def app_with_tasks(context: click.Context, app: str | None, *, database: bool = True) -> Lavoro:
    """Load the application with the modules of its tasks and entries; its database must be of this release."""
    found = load_app(context, app)
    load_tasks(found)
    if database:
        migrations.check(found.database)
    return found


def clock(at: dt.datetime | None, zone: dt.tzinfo) -> str:
    """Write a time; nothing for None."""
    if at is None:
        return ""
    local = at.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S}{f'{local:.%f}'.rstrip('0').rstrip('.') if local.microsecond else ''} {local:%Z}"


def time_of(text: str) -> dt.datetime:
    """Read a time such as 2027-01-31T09:00, with a zone or without; raises UsageError."""
    try:
        return dt.datetime.fromisoformat(f"{text[:-1]}+00:00" if text.endswith(("Z", "z")) else text)
    except ValueError:
        raise click.UsageError(f"{text!r} is no time: write it as 2027-01-31T09:00") from None
