"""``lavoro run``: run one task here and now."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from lavoro import log, serialization, signals, states
from lavoro.app import Lavoro
from lavoro.application import hooks
from lavoro.calling.eager import run_here
from lavoro.cli.common import load_app, load_tasks
from lavoro.cli.completion import names_of
from lavoro.cli.exits import Exit
from lavoro.cli.options import APP_OPTION, LOGLEVEL_OPTION, SECONDS, comma_separated
from lavoro.cli.output import note, say
from lavoro.cli.schemas import json_option
from lavoro.config import spelling
from lavoro.exceptions import SoftTimeLimitExceeded
from lavoro.execution import prints
from lavoro.execution.encode import warn_of_null
from lavoro.runtime.timer import raising
from lavoro.text.printable import plain_json, told
from lavoro.worker.config import node_name

STUBBORN = 1.0
"""Seconds after its hard limit at which the process of a task ends that does not end itself."""


@click.command(context_settings={"ignore_unknown_options": True})
@APP_OPTION
@LOGLEVEL_OPTION
@click.option("-I", "--include", callback=comma_separated, metavar="A,B", help="More modules with tasks to import.")
@click.option("--time-limit", type=SECONDS, metavar="SECONDS", help="Hard limit, unless the task has its own.")
@click.option("--soft-time-limit", type=SECONDS, metavar="SECONDS", help="Soft limit, unless the task has its own.")
@json_option(Any)
@click.argument("name", metavar="TASK", shell_complete=names_of("task"))
@click.argument("arguments", metavar="[ARG | NAME=ARG]...", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run(
    context: click.Context, /, app: str | None, loglevel: str, include: Sequence[str], name: str,
    arguments: tuple[str, ...], as_json: bool, **limits: float | None,
) -> None:  # fmt: skip
    """Run TASK in this process, as a worker would, and print its result as JSON; nothing is stored.

    Each ARG is JSON, or else a text. Exit code 3 if the task fails; the traceback is in the log.
    """
    found = load_app(context, app)
    found.conf.update({f"task_{limit}": seconds for limit, seconds in limits.items() if seconds is not None})
    found.conf.include = (*found.conf.include, *include)
    load_tasks(found)
    task = _find(found, name)
    log.setup(loglevel.upper())
    with _process(found, task):
        args, kwargs = task.__plain__(*read_arguments(arguments), {})
        result = run_here(found, task, args, kwargs, limit=_limit)
    if result.state == states.SUCCESS:
        say(_stored(found, name, result.result))
    elif result.state == states.IGNORED:
        note(f"lavoro: {name} ended as IGNORED")
        if as_json:
            say("null")
    else:
        raise TaskFailed(name, result.state, result.result)


class TaskFailed(click.ClickException):
    """The task has not succeeded; the exit code tells it from an error of the command."""

    exit_code = int(Exit.FAILED)

    def __init__(self, name: str, state: str, error: BaseException) -> None:
        super().__init__(f"{name} ended as {state}: {type(error).__name__}: {told(error)}")


def _find(app: Lavoro, name: str) -> Any:
    if name not in app.tasks:
        known = sorted(task for task in app.tasks if not task.startswith("celery."))
        meant = spelling.nearest(name, frozenset(known))
        hint = f"did you mean {meant!r}?" if meant else f"it knows {', '.join(known) or 'none'}"
        raise click.ClickException(f"the application has no task {name!r}: {hint}")
    return app.tasks[name]


@contextlib.contextmanager
def _process(app: Lavoro, task: Any) -> Iterator[None]:
    """Make this process a worker's: with its start and its end, its resources, and prints in the log."""
    node, streams = node_name(None), (sys.stdout, sys.stderr)
    if app.conf.worker_redirect_stdouts:
        prints.redirect_stdouts(app.conf.worker_redirect_stdouts_level)
    app.resources.enter()
    try:
        hooks.start(app.startup.of("process"), app.resources)
        app.resources.make_all([task])
        signals.worker_process_init.send(node)
        yield
        hooks.stop(app.shutdown.of("process"), app.resources)
        signals.worker_process_shutdown.send(node, pid=os.getpid(), exitcode=0)
    finally:
        app.resources.leave()
        sys.stdout, sys.stderr = streams


@contextlib.contextmanager
def _limit(seconds: float, error: BaseException) -> Iterator[None]:
    """Raise an error inside the block; a task that goes on past its hard limit ends with the process."""
    hard = not isinstance(error, SoftTimeLimitExceeded)
    if hard:
        faulthandler.dump_traceback_later(seconds + STUBBORN, exit=True, file=sys.__stderr__ or 2)
    try:
        with raising(error, after=seconds):
            yield
    finally:
        if hard:
            faulthandler.cancel_dump_traceback_later()


def read_arguments(arguments: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a call by place and by name; each is JSON, or else a text."""
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


def _stored(app: Lavoro, name: str, result: Any) -> str:
    """Write a result as a worker stores it; one that JSON cannot carry is null, or fails its task."""
    try:
        return plain_json(json.dumps(json.loads(serialization.dumps(result)), ensure_ascii=False))
    except Exception as error:
        if app.conf.strict_results:
            raise TaskFailed(name, states.FAILURE, error) from None
        warn_of_null(name, error)
        return "null"
