"""``lavoro inspect`` and ``lavoro control``: ask workers, and command them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import click

from lavoro.app import Lavoro
from lavoro.cli.common import load_app, load_tasks
from lavoro.cli.exits import Exit, Failure
from lavoro.cli.options import APP_OPTION, comma_separated
from lavoro.cli.output import say, say_json
from lavoro.cli.schemas import json_option
from lavoro.config import spelling
from lavoro.control.panel import CommandInfo, Panel
from lavoro.control.standard import STANDARD
from lavoro.store import commands
from lavoro.store.schema import migrate as migrations
from lavoro.text.plural import counted
from lavoro.text.printable import plain


class Command(NamedTuple):
    """A question or command: its arguments as the command line takes them, and its words."""

    help: str
    kinds: Sequence[tuple[str, Callable[[str], Any]]] = ()
    """The names of the arguments, and how their texts are read."""
    needed: int = 0
    """How many of them have to be given."""
    variadic: str = ""
    """The name of the argument that takes all others."""

    @property
    def usage(self) -> str:
        """The arguments in words."""
        named = [
            name.upper() if place < self.needed else f"[{name.upper()}]" for place, (name, _) in enumerate(self.kinds)
        ]
        return " ".join([*named, *[f"{self.variadic.upper()}..."] * bool(self.variadic)])


BY_ROWS = ("revoke", "terminate")
"""Commands that are carried out without a worker."""


def _list(kind: str) -> Callable[[Any], Any]:
    def show(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            for name, each in sorted(_commands(kind).items()):
                say(f"{f'{name} {each.usage}':<40} {each.help}".rstrip())
            context.exit()

    return click.option("--list", is_flag=True, expose_value=False, callback=show, help="List what there is, and end.")


def _remote(kind: str, result: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a verb of what these two have in common."""

    def make(function: Callable[..., Any]) -> click.Command:
        for option in (
            click.pass_context,
            click.argument("arguments", metavar="[ARG]...", nargs=-1, type=click.UNPROCESSED),
            click.argument("name", metavar="COMMAND", required=True),
            json_option(result),
            click.option("-d", "--destination", callback=comma_separated, metavar="A,B", help="Only these nodes."),
            click.option(
                "-t", "--timeout", type=float, default=1.0, show_default=True, metavar="SECONDS", help="Wait no longer."
            ),
            _list(kind),
            APP_OPTION,
        ):
            function = option(function)
        return click.command(short_help=f"{'Ask' if kind == 'inspect' else 'Command'} workers.")(function)

    return make


@_remote("inspect", dict[str, Any])
def inspect(
    context: click.Context, app: str | None, name: str, arguments: tuple[str, ...], timeout: float,
    destination: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Ask all workers, or those named, and print what they answer; exit code 69 when none does.

    Most answers are rows of the database: they are complete, also when workers are busy.
    """
    found = _load(context, app, destination)
    asking = found.control.inspect(timeout=timeout, destination=list(destination) or None)
    known = _command(context, name, "inspect")
    given, rest = _read(context, name, known, arguments)
    if name in STANDARD:
        replies = getattr(asking, name)(*given.values(), *rest)
    else:
        replies = asking._request(name, **given, **({known.variadic: rest} if known.variadic else {}))
    _answer(replies, as_json=as_json, printed=replies)


@_remote("control", list[dict[str, Any]])
def control(
    context: click.Context, app: str | None, name: str, arguments: tuple[str, ...], timeout: float,
    destination: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Command all workers, or those named, and print their replies; exit code 69 when none replies."""
    found = _load(context, app, destination)
    known = _command(context, name, "control")
    given, rest = _read(context, name, known, arguments)
    if known.variadic:
        given[known.variadic] = rest
    how: dict[str, Any] = {"destination": list(destination) or None, "timeout": timeout, "reply": True}
    if name in BY_ROWS:
        replies = getattr(found.control, name)(**given, **how) or []
    else:
        replies = found.control.broadcast(name, arguments=given, **how) or []
    _answer({node: said for reply in replies for node, said in reply.items()}, as_json=as_json, printed=replies)


def _load(context: click.Context, app: str | None, destination: tuple[str, ...]) -> Lavoro:
    """Load the application with its own commands; a node that does not live is an error."""
    found = load_app(context, app)
    load_tasks(found)
    migrations.check(found.database)
    with found.database.tx() as tx:
        nodes = set(commands.nodes(tx))
    for node in destination:
        if node not in nodes:
            near = spelling.nearest(node, frozenset(nodes))
            hint = f"did you mean {near}?" if near else f"there are {', '.join(sorted(nodes)) or 'none'}"
            raise Failure(plain(f"no live worker is named {node!r}: {hint}"), Exit.NOBODY)
    return found


def _commands(kind: str) -> dict[str, Command]:
    """Return the commands of a kind by their names, those of the application too."""
    return {
        name: Command(info.help, tuple(info.args or ()), _needed(name, info), info.variadic or "")
        for name, info in Panel.meta.items()
        if info.type == kind and info.visible
    }


def _needed(name: str, info: CommandInfo) -> int:
    """Return how many arguments have to be given; nothing tells that of an application's command."""
    return (info.signature or "").count("<") if name in STANDARD else 0


def _command(context: click.Context, name: str, kind: str) -> Command:
    every = _commands(kind)
    if name not in every:
        near = spelling.nearest(name, frozenset(every))
        hint = f"did you mean {near!r}?" if near else f"see lavoro {kind} --list"
        raise click.UsageError(f"there is no such command to {kind}: {name!r}: {hint}", context)
    return every[name]


def _read(
    context: click.Context, name: str, command: Command, arguments: tuple[str, ...]
) -> tuple[dict[str, Any], list[str]]:
    """Read the arguments of a command: the named ones, and all others."""
    words = f"{name} takes {command.usage or 'no arguments'}"
    if len(arguments) < command.needed + bool(command.variadic and name != "registered"):
        raise click.UsageError(words, context)
    if len(arguments) > len(command.kinds) and not command.variadic:
        raise click.UsageError(words, context)
    given: dict[str, Any] = {}
    for (argument, read), text in zip(command.kinds, arguments, strict=False):
        try:
            given[argument] = read(text)
        except ValueError:
            raise click.UsageError(f"{argument.upper()} cannot be {text!r}: {words}", context) from None
    return given, list(arguments[len(command.kinds) :])


def _answer(replies: dict[str, Any] | None, *, as_json: bool, printed: Any) -> None:
    if not replies:
        raise Failure("No nodes replied within time constraint: no worker is alive, or none answers", Exit.NOBODY)
    if as_json:
        say_json(printed)
        return
    for node, reply in replies.items():
        status, lines = _shown(reply)
        say(plain(f"->  {node}: {status}"))
        for line in lines:
            say(f"        {line}")
    say(f"\n{counted(len(replies), 'node')} online.")


def _shown(reply: Any) -> tuple[str, list[str]]:
    """Return whether a reply is good, and its lines, as Celery shows them."""
    if isinstance(reply, dict) and ("ok" in reply or "error" in reply):
        bad = "error" in reply
        return "ERROR" if bad else "OK", str(reply["error"] if bad else reply["ok"]).splitlines()
    if isinstance(reply, list):
        return "OK", [f"* {plain(each if isinstance(each, str) else repr(each))}" for each in reply] or ["- empty -"]
    if isinstance(reply, str):
        return "OK", reply.splitlines()
    return "OK", json.dumps(reply, sort_keys=True, indent=4, default=str).splitlines()
