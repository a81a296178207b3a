"""``lavoro events``: write the events of tasks and workers as they come, or have a camera look at them."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NoReturn

import click

from lavoro import log
from lavoro.app import Lavoro
from lavoro.cli.common import app_with_tasks
from lavoro.cli.daemon import DETACHED, become, umask
from lavoro.cli.options import APP_OPTION, LOGLEVEL_OPTION, SECONDS, Output, refused, writing
from lavoro.cli.output import note, say, say_json
from lavoro.cli.schemas import json_option
from lavoro.config.settings import symbol
from lavoro.events.dumper import Dumper
from lavoro.events.event import Told
from lavoro.events.snapshot import evcam, rate

SCHEMA = {
    "type": "object",
    "properties": {
        "type": {"type": "string"}, "hostname": {"type": "string"}, "timestamp": {"type": "number"},
        "clock": {"type": "integer"}, "local_received": {"type": "number"}, "uuid": {"type": "string"},
    },
    "required": ["type", "timestamp", "clock", "local_received"],
}  # fmt: skip
"""Of each line: an event has the fields of its type, too."""


def _rate(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    try:
        rate(value)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None
    return value


@click.command(short_help="Write events as they come.")
@APP_OPTION
@click.option("-d", "--dump", is_flag=True, expose_value=False, help="Write each event on a line; the default.")
@json_option(SCHEMA)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="End after N events.")
@click.option("--timeout", type=SECONDS, metavar="SECONDS", help="End after so many seconds without an event.")
@click.option("-c", "--camera", metavar="CLASS", help="A class of cameras, which looks at the state instead.")
@click.option(
    "-F", "--frequency", "--freq", "frequency", type=SECONDS, default=1.0, metavar="SECONDS", show_default=True,
    help="Seconds between its pictures.",
)  # fmt: skip
@click.option("-r", "--maxrate", callback=_rate, metavar="RATE", help="The most pictures, such as 10/m.")
@LOGLEVEL_OPTION
@click.option("-f", "--logfile", type=Output(), help="Log there instead of standard error.")
@click.option("--uid", metavar="USER", help="Run as that user, by name or number; root alone may.")
@click.option("--gid", metavar="GROUP", help="Run as that group, by name or number; root alone may.")
@click.option("--umask", callback=umask, expose_value=False, metavar="OCTAL", help="Rights that new files do not get.")
@refused("--detach", why=DETACHED, flag=True)
@refused("--executable", why="start it with that interpreter: PATH -m lavoro events")
@refused("--pidfile", why=DETACHED)
@click.pass_context
def events(
    context: click.Context, /, app: str | None, as_json: bool, limit: int | None, timeout: float | None,
    camera: str | None, frequency: float, maxrate: str | None, **options: Any,
) -> None:  # fmt: skip
    """Write what workers and tasks do, as it happens, until told to stop.

    The tasks of those workers are told that were started with -E, or got `lavoro control enable_events`.
    """
    become(options["uid"], options["gid"])
    with writing("--logfile"):
        log.setup(options["loglevel"].upper(), logfile=options["logfile"])
    found = app_with_tasks(context, app)
    with _until_told_to_stop():
        if camera is not None:
            note(f"-> evcam: Taking snapshots with {camera} (every {frequency} secs.)")
            made = _class_of(camera)
            with contextlib.suppress(TimeoutError):
                evcam(made, freq=frequency, maxrate=maxrate, app=found, limit=limit, timeout=timeout)
        else:
            _dump(found, say_json if as_json else Dumper(_Lines()).on_event, limit=limit, timeout=timeout)


def _class_of(path: str) -> Any:
    try:
        return symbol(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise click.UsageError(f"--camera: {path!r} cannot be imported: {error}; write it as module:Class") from error


def _dump(app: Lavoro, handler: Callable[[Told], object], *, limit: int | None, timeout: float | None) -> None:
    note("-> evdump: starting capture...")
    flushed = partial(_flushed, handler)
    with contextlib.suppress(TimeoutError):
        app.events.Receiver(handlers={"*": flushed}).capture(limit=limit, timeout=timeout)


def _flushed(handler: Callable[[Told], object], event: Told) -> None:
    """Write an event at once, for a pipe."""
    handler(event)
    sys.stdout.flush()


class _Lines:
    """A file that prints lines as verbs do: with control characters as escapes."""

    def write(self, text: str) -> None:
        if text != "\n":
            say(text)

    def flush(self) -> None:
        """Do nothing: each line is written at once."""


@contextlib.contextmanager
def _until_told_to_stop() -> Iterator[None]:
    """End the block in order, with exit code 0, at SIGINT and SIGTERM."""

    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, former)
