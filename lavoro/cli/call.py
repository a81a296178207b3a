"""``lavoro call``: send a task by its name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import click

from lavoro.cli.common import load_app, load_tasks, time_of
from lavoro.cli.completion import names_of
from lavoro.cli.options import APP_OPTION, Grouped
from lavoro.cli.output import note, say, say_json
from lavoro.cli.schemas import json_option
from lavoro.config import spelling
from lavoro.text.printable import plain


class Sent(NamedTuple):
    """The task that was sent."""

    task_id: str
    name: str


def _json(kind: type, words: str) -> Any:
    """Make a callback that reads a JSON array or object."""

    def read(context: click.Context, parameter: click.Parameter, text: str) -> Any:
        try:
            value = json.loads(text)
        except ValueError as error:
            raise click.BadParameter(f"must be {words}, and {text!r} is no JSON: {error}", context, parameter) from None
        if not isinstance(value, kind):
            raise click.BadParameter(f"must be {words}, not {text}", context, parameter)
        return value

    return read


def _time(context: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    return None if text is None else time_of(text)


def _end(context: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return time_of(text)


class _Call(Grouped):
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "The call": ("app", "args", "kwargs", "eta", "countdown", "expires", "serializer"),
        "Where it goes": ("queue", "priority", "exchange", "routing_key"),
    }


@click.command(cls=_Call, short_help="Send a task by its name.")
@APP_OPTION
@click.option("-a", "--args", default="[]", callback=_json(list, "a JSON array"), help="Arguments: a JSON array.")
@click.option("-k", "--kwargs", default="{}", callback=_json(dict, "a JSON object"), help="By name: a JSON object.")
@click.option("--eta", callback=_time, metavar="TIME", help="Start then: 2027-01-31T09:00.")
@click.option("--countdown", type=float, metavar="SECONDS", help="Start after so many seconds.")
@click.option("--expires", callback=_end, metavar="SECONDS|TIME", help="Do not start after that.")
@click.option("--serializer", metavar="NAME", help="How the arguments are written; default: the task's.")
@click.option("--queue", metavar="NAME", help="The queue; default: the task's route.")
@click.option("--priority", type=int, metavar="N", help="Higher ones start first.")
@click.option("--exchange", metavar="NAME", help="As in task_queues, with --routing-key.")
@click.option("--routing-key", metavar="KEY", help="As in task_queues, with --exchange.")
@json_option(Sent)
@click.argument("name", metavar="TASK", shell_complete=names_of("task"))
@click.pass_context
def call(
    context: click.Context, /, app: str | None, name: str, args: list[Any], kwargs: dict[str, Any], as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Send the task of that name, known here or not, and print its id."""
    found = load_app(context, app)
    load_tasks(found)
    if name not in found.tasks:
        near = spelling.nearest(name, frozenset(found.tasks))
        hint = f": did you mean {near!r}?" if near else ": a worker that knows it may"
        note(plain(f"lavoro: the application has no task {name!r}{hint}"))
    given = {option: value for option, value in options.items() if value is not None}
    result = found.send_task(name, args, kwargs, **given)
    say_json(Sent(result.id, name)) if as_json else say(str(result.id))
