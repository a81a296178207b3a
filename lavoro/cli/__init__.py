"""The command line: one module per verb; errors are one line on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import cast

import click

import lavoro
from lavoro.cli import everywhere
from lavoro.cli.completion import completion_options
from lavoro.cli.exits import Exit
from lavoro.cli.options import APP_OPTION, Verbs, take_over_variables
from lavoro.cli.output import say
from lavoro.config import absent, spelling
from lavoro.exceptions import LavoroError, NotSupported
from lavoro.text.commands import advised

GROUPS = {
    "Run tasks": ("worker", "beat", "multi", "run", "call", "result"),
    "Look": ("status", "top", "events", "inspect", "task", "queue", "schedule", "limit", "history"),
    "Change": ("control", "purge"),
    "Set up and repair": ("migrate", "check", "doctor", "db", "health"),
    "Others": ("report", "shell", "upgrade"),
}
"""The verbs, as the help shows them."""
VERBS = tuple(verb for verbs in GROUPS.values() for verb in verbs)


class Group(click.Group):
    """The verbs; for a misspelt verb, or one that only Celery has, the error says what to do instead."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return a verb, or None; raises UsageError for an unknown one for which there is advice."""
        found = super().get_command(context, name) or import_module("lavoro.cli.added").added(name)
        if found is None:
            try:
                absent.missing(f"lavoro {name}")
            except NotSupported as error:
                raise click.UsageError(str(error), context) from None
            if meant := spelling.nearest(name, frozenset(self.commands)):
                raise click.UsageError(f"no such command {name!r}: did you mean {meant!r}?", context)
        return cast("click.Command | None", found)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs in groups."""
        for title, names in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(60)) for name in names])


@click.group(
    cls=Group,
    commands=Verbs(VERBS, everywhere.add_to),
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "LAVORO"},
)
@APP_OPTION
@completion_options
@click.version_option(lavoro.__version__, prog_name="lavoro")
@click.pass_context
def cli(context: click.Context, app: str | None) -> None:
    """Run and manage the tasks of a Lavoro application."""
    context.obj = app or context.obj


cli.params[1:1] = everywhere.options()


def main() -> None:
    """Run the command line.

    An error is one line that says what to do, and one of the codes of `Exit`; with ``-l debug`` the traceback of an
    application that cannot be loaded stands before it.
    """
    sys.exit(_run(sys.argv[1:]))


def main_of_celery() -> None:
    """Run the command line under Celery's name: each option is also read from its variable ``CELERY_...``."""
    # Not those of `result`: CELERY_RESULT_BACKEND and its like are settings.
    take_over_variables(verb for verb in VERBS if verb != "result")
    for option in ("APP", "WORKDIR", "CONFIG", "NO_COLOR", "QUIET"):
        if value := os.environ.get(f"CELERY_{option}"):
            os.environ.setdefault(f"LAVORO_{option}", value)
    main()


def run_for(app: object, arguments: Sequence[str]) -> int:
    """Run the command line for an application of this process; return the exit code."""
    with everywhere.restored():
        return _run(arguments, app)


def _run(arguments: Sequence[str], app: object = None) -> int:
    take_over_variables()
    try:
        code = cli.main(list(arguments), prog_name="lavoro", standalone_mode=False, obj=app)
    except click.UsageError as error:
        return _wrong_usage(error, arguments)
    except click.Abort as error:
        interrupted = isinstance(error.__context__, KeyboardInterrupt)
        return _failed("interrupted", Exit.INTERRUPTED) if interrupted else _failed("aborted")
    except KeyboardInterrupt:
        return _failed("interrupted", Exit.INTERRUPTED)
    except click.ClickException as error:
        return _failed(error.format_message(), error.exit_code)
    except LavoroError as error:
        if "debug" in (argument.lower() for argument in arguments):
            say(getattr(error, "details", None) or "", error=True)
        return _failed(advised(error))
    except OSError as error:
        return _failed(str(error))
    except Exception as error:
        if (refusal := getattr(error, "orig", None)) is None:
            raise
        return _failed(f"the database refused that: {refusal}")  # SQLAlchemy's DBAPIError, which is not imported here
    return code if isinstance(code, int) else 0


def _wrong_usage(error: click.UsageError, arguments: Sequence[str]) -> int:
    if error.ctx is not None and not arguments:
        click.echo(error.ctx.get_help())
    else:
        verb = error.ctx.command_path if error.ctx is not None else "lavoro"
        say(f"lavoro: {_one_line(error.format_message()).rstrip('.')} (see {verb} --help)", error=True)
    return Exit.USAGE


def _failed(message: str, code: int = Exit.ERROR) -> int:
    say(f"lavoro: {_one_line(message)}", error=True)
    return int(code)


def _one_line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())
