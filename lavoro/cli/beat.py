"""``lavoro beat``: send the tasks of schedules, in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import click

from lavoro import log
from lavoro.cli.common import load_app
from lavoro.cli.daemon import become, umask
from lavoro.cli.detach import detach, in_background
from lavoro.cli.options import (
    APP_OPTION,
    LOGLEVEL_OPTION,
    SECONDS,
    Grouped,
    Output,
    app_name,
    ignored,
    refused,
    writing,
)
from lavoro.config.from_text import settings_of

_PING = "this release answers no ping: `lavoro status` and `lavoro health` tell of schedules that are late"


class _Beat(Grouped):
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "What it runs": ("app", "scheduler", "max_interval"),
        "What it says": ("loglevel", "logfile", "pidfile"),
        "Where it runs": ("detached",),
        "Who it is": ("uid", "gid", "umask"),
    }


@click.command(cls=_Beat, context_settings={"allow_extra_args": True})
@APP_OPTION
@click.option("-S", "--scheduler", metavar="CLASS", help="A scheduler class, which one process of all runs.")
@click.option(
    "--max-interval",
    type=SECONDS,
    metavar="SECONDS",
    help="Longest pause between two looks.",
)
@LOGLEVEL_OPTION
@click.option("-f", "--logfile", type=Output(), help="Log there instead of standard error.")
@click.option("--pidfile", type=Output(), help="Write the process id there.")
@click.option("--uid", metavar="USER", help="Run as that user, by name or number; root alone may.")
@click.option("--gid", metavar="GROUP", help="Run as that group, by name or number; root alone may.")
@click.option("--umask", callback=umask, metavar="OCTAL", help="Rights that new files do not get, such as 027.")
@click.option("--detach", "detached", is_flag=True, help="Run in the background: return when it has begun.")
@refused("--executable", why="start it with that interpreter: PATH -m lavoro beat")
@refused("--enable-remote-control", why=_PING, flag=True)
@ignored("--no-enable-remote-control", flag=True)
@ignored("-s", "--schedule")
@ignored("-n", "--hostname")
@click.pass_context
def beat(
    context: click.Context, /, app: str | None, uid: str | None, gid: str | None, umask: None, **options: Any
) -> None:
    """Send the tasks of schedules until told to stop; after -- come settings, such as beat.max_loop_interval=5.

    Workers do that too, unless the setting lavoro_run_schedules is off: any number of processes may, and each tick is
    sent once. TERM or INT: stop after the tick under way, exit 0.
    """
    if options.pop("detached") and not in_background():
        app_name(context, app)
        context.exit(detach(pidfile=options["pidfile"], logfile=options["logfile"]))
    become(uid, gid)
    with writing("--logfile"):
        log.begin(options["loglevel"], logfile=options["logfile"], style="text")
    found = load_app(context, app)
    try:
        found.conf.update(settings_of(context.args, "beat"))
    except ValueError as error:
        raise click.UsageError(str(error), context) from None
    found.Beat(**options).run()
