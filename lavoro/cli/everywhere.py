"""The options of all verbs, which may stand before or after the verb, as some of Celery's may."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click

from lavoro.cli.options import refused
from lavoro.cli.output import QUIET, note

_NO_BACKEND = "lavoro: --result-backend changes nothing: results are rows of the database that holds the tasks"
_LOADER = "give the class to the application: Lavoro(loader=...)"


VARIABLES = ("CELERY_BROKER_URL", "LAVORO_CONFIG", "NO_COLOR", QUIET)
"""The variables that the options set."""


def _change_folder(context: click.Context, parameter: click.Parameter, folder: str | None) -> None:
    if folder:
        os.chdir(folder)


def _set(**variables: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """Make a callback that sets variables, which processes of a worker inherit; an empty one takes the value."""

    def set_them(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value:
            os.environ.update({name: fixed or str(value) for name, fixed in variables.items()})

    return set_them


def _tell_of_backend(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        note(_NO_BACKEND)


_DECORATORS = (
    click.option(
        "-b", "--broker", metavar="URL", expose_value=False, callback=_set(CELERY_BROKER_URL=""),
        help="The database, instead of the app's.",
    ),
    click.option(
        "--config", metavar="MODULE", expose_value=False, callback=_set(LAVORO_CONFIG=""),
        help="Settings, instead of those the app reads.",
    ),
    click.option(
        "--workdir", type=click.Path(exists=True, file_okay=False), is_eager=True, expose_value=False,
        callback=_change_folder, help="Change to that folder first.",
    ),
    click.option(
        "-q", "--quiet", is_flag=True, is_eager=True, expose_value=False, callback=_set(**{QUIET: "1"}),
        help="Print results alone: no notes, no progress.",
    ),
    click.option("-C", "--no-color", is_flag=True, expose_value=False, callback=_set(NO_COLOR="1"), help="No colours."),
    click.option(
        "--result-backend", metavar="URL", hidden=True, expose_value=False, callback=_tell_of_backend,
        allow_from_autoenv=False,
    ),
    click.option("--skip-checks", is_flag=True, hidden=True, expose_value=False),
    refused("--loader", why=_LOADER),
)  # fmt: skip


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Leave the variables as they were, for a process that runs several commands."""
    before = {name: os.environ.get(name) for name in VARIABLES}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({name: value} if value is not None else {})


def options() -> list[click.Option]:
    """Make the options."""

    @click.command
    def holder() -> None: ...

    for decorate in _DECORATORS:
        decorate(holder)
    return [parameter for parameter in holder.params if isinstance(parameter, click.Option)]


def add_to(command: click.Command) -> None:
    """Let the options stand after a verb too, and after those of a group; they are not in its help."""
    taken = {name for parameter in command.params for name in parameter.opts}
    for option in options():
        if taken.isdisjoint(option.opts):
            option.hidden = True
            command.params.append(option)
    for inner in _inner(command):
        add_to(inner)


def _inner(command: click.Command) -> Iterable[click.Command]:
    return command.commands.values() if isinstance(command, click.Group) else ()
