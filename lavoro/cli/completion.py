"""Completion for the shell: its scripts, their installation, and the names that it knows from an application."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from lavoro.cli.exits import Failure
from lavoro.cli.output import confirm, say

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_LAVORO_COMPLETE"


class _Shell(click.ParamType):  # type: ignore[type-arg]  # no generic class before click 8.2
    """One of the shells; nothing stands for the user's own."""

    name = "shell"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:
        shell = value or Path(os.environ.get("SHELL", "")).name
        if shell not in SHELLS:
            self.fail(f"name the shell: one of {', '.join(SHELLS)}, not {shell!r}", parameter, context)
        return str(shell)


def completion_options(command: Any) -> Any:
    """Add ``--install-completion`` and ``--show-completion``."""
    for name, callback, words in (
        ("--show-completion", _show, "Print the script that completes verbs, options and names."),
        ("--install-completion", _install, "Install that script, after a question."),
    ):
        command = click.option(
            name, type=_Shell(), is_flag=False, flag_value="", is_eager=True, expose_value=False,
            callback=callback, metavar="[SHELL]", help=words, allow_from_autoenv=False,
        )(command)  # fmt: skip
    return command


def _show(context: click.Context, parameter: click.Parameter, shell: str | None) -> None:
    if shell is not None:
        say(_script(shell))
        context.exit()


def _install(context: click.Context, parameter: click.Parameter, shell: str | None) -> None:
    if shell is None:
        return
    home = Path.home()
    if shell == "fish":
        script, start = home / ".config/fish/completions/lavoro.fish", None
    else:
        script, start = home / f".local/share/lavoro/complete.{shell}", home / f".{shell}rc"
    line = f"source {script}"
    known = start is None or (start.is_file() and line in start.read_text(encoding="utf-8").splitlines())
    say(f"writes {script}")
    if start is not None and not known:
        say(f"adds to {start}: {line}")
    confirm("Install completion?", yes=False, option="--show-completion, and save what it prints")
    try:
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(_script(shell) + "\n", encoding="utf-8")
        if start is not None and not known:
            with start.open("a", encoding="utf-8") as file:
                file.write(f"\n{line}\n")
    except OSError as error:
        raise Failure(f"{error.filename!r} cannot be written: {error.strerror}") from None
    say("installed: it works in the next shell")
    context.exit()


def _script(shell: str) -> str:
    made = get_completion_class(shell)
    assert made is not None
    return made(click.Command("lavoro"), {}, "lavoro", _VARIABLE).source().strip()


def names_of(kind: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Make a completion of names: ``task``, ``queue`` or ``schedule``; nothing where no application can be loaded."""

    def complete(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
            return [CompletionItem(name) for name in sorted(_names(context, kind)) if name.startswith(begun)]
        return []

    return complete


def _names(context: click.Context, kind: str) -> Iterable[str]:
    from lavoro.cli.common import load_app, load_tasks  # noqa: PLC0415  # they load the whole package

    contexts = [context, *([context.parent] if context.parent is not None else []), context.find_root()]
    app = load_app(context, next((each.params["app"] for each in contexts if each.params.get("app")), None))
    if kind == "queue":
        return app.queues
    load_tasks(app)
    if kind == "schedule":
        return [stored.name for stored in app.schedules]
    return [name for name in app.tasks if not name.startswith("celery.")]
