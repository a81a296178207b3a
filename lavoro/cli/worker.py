"""``lavoro worker``: run tasks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import click

from lavoro import log
from lavoro.cli.daemon import become, umask
from lavoro.cli.detach import detach, file_of, held, in_background
from lavoro.cli.options import (
    APP_OPTION,
    LOGLEVEL_OPTION,
    SECONDS,
    Grouped,
    Output,
    app_name,
    comma_separated,
    ignored,
    liveness_option,
    refused,
    writing,
)
from lavoro.cli.output import note, say
from lavoro.config.from_text import settings_of
from lavoro.text.printable import plain
from lavoro.worker.child.pools import NAMES
from lavoro.worker.config import WorkerOptions, node_name
from lavoro.worker.supervisor import supervisor

COUNT = click.IntRange(1)


def _concurrency(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Read a number; ``auto`` and 0 leave it to the settings and the CPUs."""
    if value is None or value.lower() == "auto":
        return None
    if not value.isdigit():
        raise click.BadParameter(f"must be a whole number or 'auto', not {value!r}", context, parameter)
    return int(value) or None


def _autoscale(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Read the most and the least slots; the least may be left out."""
    if value is None:
        return None
    most, _, least = value.partition(",")
    if not most.isdigit() or not (least or "1").isdigit():
        raise click.BadParameter(f"must be MAX,MIN, such as 10,3, not {value!r}", context, parameter)
    bounds = int(most), max(int(least or 1), 1)
    if bounds[0] < bounds[1]:
        raise click.BadParameter(f"the most slots come first: {value!r} has fewer than the least", context, parameter)
    return bounds


class _Worker(Grouped):
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Used most": (
            "app",
            "queues",
            "pool",
            "concurrency",
            "processes",
            "hostname",
            "loglevel",
            "beat",
            "time_limit",
            "max_tasks_per_child",
        ),
        "What it runs": ("exclude_queues", "include", "broker", "purge", "scheduler"),
        "How it runs tasks": ("autoscale", "soft_time_limit", "prefetch_multiplier", "disable_prefetch"),
        "How long it lives": ("drain", "max_tasks", "grace", "max_memory_per_child"),
        "What it says": ("task_events", "task_events", "logfile", "log_format", "pidfile", "liveness_file"),
        "Where it runs": ("detach",),
        "Who it is": ("uid", "gid", "umask"),
    }


@click.command(cls=_Worker, context_settings={"allow_extra_args": True})
@APP_OPTION
@click.option(
    "-c", "--concurrency", callback=_concurrency, metavar="N", help="Tasks at once in a process (prefork: processes)."
)
@click.option(
    "--autoscale", callback=_autoscale, metavar="MAX,MIN", help="As -c, by load: at most MAX, at least MIN (default 1)."
)
@click.option(
    "-P", "--pool", type=click.Choice([*NAMES, "processes"]), help="How tasks run side by side; default gevent."
)
@click.option("--processes", type=COUNT, metavar="N", help="Processes of a gevent or thread pool; default 1.")
@click.option("-Q", "--queues", callback=comma_separated, metavar="A,B", help="Queues to serve; default: the app's.")
@click.option("-X", "--exclude-queues", callback=comma_separated, metavar="A,B", help="Queues not to serve.")
@click.option("-n", "--hostname", metavar="NAME", help="This node; %h host, %n its first part, %d its domain, %p pid.")
@LOGLEVEL_OPTION
@click.option("-f", "--logfile", type=Output(), help="Log there instead of standard error.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", help="json: one object a line.")
@click.option("-I", "--include", callback=comma_separated, metavar="A,B", help="More modules with tasks to import.")
@click.option("--time-limit", type=SECONDS, metavar="SECONDS", help="Hard limit of all tasks.")
@click.option("--soft-time-limit", type=SECONDS, metavar="SECONDS", help="Soft limit of all tasks.")
@click.option("--drain", is_flag=True, help="Run what is due, with all that follows, then end.")
@click.option("--max-tasks", type=COUNT, metavar="N", help="End after N tasks have been started.")
@click.option("--max-tasks-per-child", type=COUNT, metavar="N", help="Replace a process after N tasks.")
@click.option("--max-memory-per-child", type=COUNT, metavar="N", help="Replace a process that has grown to N KiB.")
@click.option("--grace", type=click.FloatRange(0), metavar="SECONDS", help="For running tasks when the worker stops.")
@click.option("-b", "--broker", metavar="URL", help="The database, instead of the app's.")
@click.option("--purge", "--discard", is_flag=True, help="First delete all that waits on the queues.")
@click.option("--pidfile", type=Output(), help="Write the process id there.")
@click.option(
    "--prefetch-multiplier",
    type=click.IntRange(0),
    metavar="N",
    help="1: claim nothing ahead; others: as settings say.",
)
@click.option("--disable-prefetch", is_flag=True, help="The same as --prefetch-multiplier 1.")
@liveness_option(Output())
@click.option("--uid", metavar="USER", help="Run as that user, by name or number; root alone may.")
@click.option("--gid", metavar="GROUP", help="Run as that group, by name or number; root alone may.")
@click.option("--umask", callback=umask, metavar="OCTAL", help="Rights that new files do not get, such as 027.")
@click.option(
    "-E", "--task-events", "--events", "task_events", is_flag=True, help="Tell monitors of its tasks: lavoro events."
)
@click.option(
    "-B/ ", "--beat/--no-beat", "beat", default=None, help="Send the tasks of schedules, or do not; default: it does."
)
@click.option("--scheduler", metavar="CLASS", help="A scheduler class, which one node of all runs.")
@click.option("-D", "--detach", is_flag=True, help="Run in the background: return when it has begun.")
@refused("--executable", why="start the worker with that interpreter: PATH -m lavoro worker")
@ignored("--pool-start-method")
@ignored("--without-gossip", flag=True)
@ignored("--without-mingle", flag=True)
@ignored("--without-heartbeat", flag=True)
@ignored("--heartbeat-interval")
@ignored("-O", "--optimization")
@ignored("-S", "--statedb")
@ignored("-s", "--schedule", "--schedule-filename")
@click.option("--parent-fd", "parent", type=int, hidden=True, help="Stop when this inherited descriptor is closed.")
@click.pass_context
def worker(context: click.Context, /, app: str | None, **options: Any) -> None:
    """Run tasks until told to stop; after -- come settings, such as worker.concurrency=4.

    TERM or INT: finish what runs, up to the grace, give the rest back, exit 0. A second one, or QUIT: now. HUP: replace
    the processes one by one. USR1: log what they are doing. TSTP: claim no more tasks; CONT: claim again.
    """
    node = node_name(options["hostname"])
    files = {name: file_of(options[name], node) for name in ("pidfile", "logfile")}
    if options.pop("detach") and not in_background():
        app_name(context, app)
        context.exit(detach(**files))
    options |= files
    become(options.pop("uid"), options.pop("gid"))
    options.pop("umask")
    wanted = _options(app_name(context, app), settings=_settings(context), **options)
    with writing("--logfile"):
        log.setup(wanted.loglevel, logfile=wanted.logfile, style=wanted.log_style)
    with held(options["pidfile"]):
        tell = _tell if wanted.logfile is not None and sys.stderr.isatty() else None
        show = note if sys.stderr.isatty() and options["log_format"] == "text" else None
        context.exit(supervisor.run(wanted, parent_descriptor=options["parent"], tell=tell, show=show))


def _options(
    app: str, *, pool: str | None, loglevel: str, log_format: str, broker: str | None, parent: object, pidfile: object,
    prefetch_multiplier: int | None, disable_prefetch: bool, **same: Any,
) -> WorkerOptions:  # fmt: skip
    return WorkerOptions(
        app,
        pool="prefork" if pool == "processes" else pool,
        loglevel=loglevel.upper(),
        log_style=log_format,
        database=broker,
        prefetch_multiplier=1 if disable_prefetch else prefetch_multiplier,
        command=tuple(sys.argv),
        **same,
    )


def _settings(context: click.Context) -> dict[str, Any]:
    try:
        return settings_of(context.args, "worker")
    except ValueError as error:
        raise click.UsageError(str(error), context) from None


def _tell(text: str) -> None:
    """Tell a person at a terminal what the log says in a file."""
    say(plain(text), error=True)
