"""The commands ``flask lavoro worker``, ``migrate``, ``status`` ...: those of ``lavoro``, for Flask's application."""

from __future__ import annotations

import copy
import functools
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from flask import current_app
from flask.cli import ScriptInfo, with_appcontext
from sqlalchemy.exc import DBAPIError

from lavoro.exceptions import LavoroError
from lavoro.text.commands import advised, name_flask_app
from lavoro.text.printable import plain


class Verbs(click.Group):
    """The verbs of the command ``lavoro``, without ``-A``: Flask knows the application."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of the verbs."""
        from lavoro.cli import cli  # only here: a web process needs none of it

        return cli.list_commands(context)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return a verb."""
        from lavoro.cli import cli

        verb = cli.get_command(context, name)
        if verb is None or name == "worker":
            return verb and worker
        return _without_app_option(verb)

    def invoke(self, context: click.Context) -> Any:
        """Run a verb; what goes wrong with the configuration or the database is told in one line."""
        try:
            return super().invoke(context)
        except LavoroError as error:
            raise click.ClickException(plain(advised(error), lines=True)) from error
        except DBAPIError as error:
            raise click.ClickException(plain(f"the database refused that: {error.orig}", lines=True)) from error


@click.group("lavoro", cls=Verbs)
@with_appcontext
@click.pass_context
def commands(context: click.Context) -> None:
    """Run and look after background tasks."""
    context.obj = current_app.extensions["lavoro"]
    name_app(context)


@click.command("worker", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def worker(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Run tasks until told to stop."""
    path = import_path(context)
    if path is None:
        raise click.UsageError(
            "a worker loads the application itself, and this command line does not say how:"
            " use lavoro worker -A 'module:create_app()'"
        )
    # This process has imported the application, which the worker's supervisor must not have: it gives way to a new one.
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "lavoro", "worker", "-A", path, *arguments])


def name_app(context: click.Context | None) -> None:
    """Let errors name the commands of Flask's command line, for the application of this process."""
    name_flask_app(import_path(context) or os.environ.get("FLASK_APP") or "yourapp")


def import_path(context: click.Context | None) -> str | None:
    """Return what ``-A`` must be for the application that Flask's command line loads: as ``flask --app`` finds it.

    None outside of Flask's command line, and in one that makes its application in a way that cannot be named.
    """
    info = context.find_object(ScriptInfo) if context else None
    if info is None:
        return None
    if info.create_app is not None:
        return _named(info.create_app)
    return info.app_import_path or next((name for name in ("wsgi.py", "app.py") if Path(name).is_file()), None)


def _named(factory: Callable[..., Any]) -> str | None:
    """Return ``module:function()`` for the factory of a command line of the site's own, if it can be imported."""
    module, name = inspect.getmodule(factory), getattr(factory, "__name__", "")
    if module is None or module.__name__ == "__main__" or getattr(module, name, None) is not factory:
        return None
    return f"{module.__name__}:{name}()"


def _without_app_option(verb: click.Command) -> click.Command:
    assert verb.callback is not None
    for_flask = copy.copy(verb)
    for_flask.params = [parameter for parameter in verb.params if parameter.name != "app"]
    for_flask.callback = functools.partial(verb.callback, app=None)
    return for_flask
