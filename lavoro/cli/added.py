"""Commands that packages for Celery add to its command line, such as Flower's."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, NamedTuple

import click

from lavoro.cli.common import load_app

GROUP = "celery.commands"
"""The entry points of such commands."""


class CommandContext(NamedTuple):
    """The object of a command's context."""

    app: Any
    quiet: bool = False
    no_color: bool = False


class CeleryCommand(click.Command):
    """A command whose context has the application: ``ctx.obj.app``."""

    def invoke(self, ctx: click.Context) -> Any:
        """Load the application that ``-A`` names, then run the command."""
        ctx.obj = CommandContext(load_app(ctx, None))
        return super().invoke(ctx)


def added(name: str) -> click.Command | None:
    """Return the command of this name that an installed package adds; None if none does, or it cannot be imported."""
    for point in entry_points(group=GROUP, name=name):
        try:
            found = point.load()
        except ImportError as error:
            raise click.ClickException(f"{name} cannot be imported: {error}; it may need lavoro-celery") from error
        if isinstance(found, click.Command):
            return found
    return None
