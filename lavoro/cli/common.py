"""What the verbs share: the option ``-A``, the way to the application, and how they speak."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lavoro.app import Lavoro
from lavoro.errors import LavoroError
from lavoro.loading import find_app
from lavoro.text import plain

APP_OPTION = click.option(
    "-A",
    "--app",
    metavar="MODULE[:APP]",
    help="The application, for example shop.tasks or shop:app.",
    envvar="LAVORO_APP",
)


def say(text: str, *, error: bool = False) -> None:
    """Print lines; names in them come from whoever may send tasks, so nothing that a terminal acts on leaves raw."""
    click.echo(plain(text, lines=True), err=error)


def app_name(context: click.Context, app: str | None) -> str:
    """Return the name given before or after the verb; raises UsageError if there is none."""
    name = app or context.obj
    if not name:
        raise click.UsageError("name the application: -A module[:app] (or set LAVORO_APP)")
    return str(name)


def load_app(context: click.Context, app: str | None) -> Lavoro:
    """Import the application that was named, unless it is at hand already.

    What goes wrong in its module is told in one line.
    """
    if isinstance(context.obj, Lavoro):
        return context.obj
    sys.path.insert(0, str(Path.cwd()))
    name = app_name(context, app)
    try:
        return find_app(name)
    except LavoroError:
        raise
    except Exception as error:
        raise click.ClickException(f"{name!r} could not be imported: {type(error).__name__}: {error}") from error


def comma_separated(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Split ``a,b``."""
    return tuple(part.strip() for part in (value or "").split(",") if part.strip())
