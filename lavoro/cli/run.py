"""``lavoro run``: run one task here and now."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import click

from lavoro import log, states
from lavoro.cli.common import load_app
from lavoro.cli.options import APP_OPTION, LOGLEVEL_OPTION
from lavoro.cli.output import say
from lavoro.config import spelling


@click.command(context_settings={"ignore_unknown_options": True})
@APP_OPTION
@LOGLEVEL_OPTION
@click.argument("name", metavar="TASK")
@click.argument("arguments", metavar="[ARG | NAME=ARG]...", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run(context: click.Context, app: str | None, loglevel: str, name: str, arguments: tuple[str, ...]) -> None:
    """Run TASK in this process, as a worker would, and print its result as JSON; nothing is stored.

    Each ARG is JSON, or else a text. Exit code 1 if the task fails; the traceback is in the log.
    """
    found = load_app(context, app)
    found.import_modules()
    found.finalize(auto=True)
    if name not in found.tasks:
        known = sorted(task for task in found.tasks if not task.startswith("celery."))
        meant = spelling.nearest(name, frozenset(known))
        hint = f"did you mean {meant!r}?" if meant else f"it knows {', '.join(known) or 'none'}"
        raise click.ClickException(f"the application has no task {name!r}: {hint}")
    log.setup(loglevel.upper())
    args, kwargs = _read(arguments)
    with contextlib.closing(found.resources):
        result = found.tasks[name].apply(args, kwargs, throw=False)
    if result.state != states.SUCCESS:
        error = result.result
        raise click.ClickException(f"{name} ended as {result.state}: {type(error).__name__}: {error}")
    say(_shown(result.result))


def _read(arguments: tuple[str, ...]) -> tuple[list[Any], dict[str, Any]]:
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for text in arguments:
        name, equals, value = text.partition("=")
        if equals and name.isidentifier():
            kwargs[name] = _value(value)
        else:
            args.append(_value(text))
    return args, kwargs


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _shown(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)
