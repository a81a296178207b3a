"""``lavoro worker``: run tasks."""

from __future__ import annotations

import os
import sys

import click

from lavoro import log
from lavoro.cli.common import APP_OPTION, app_name, comma_separated
from lavoro.worker import supervisor
from lavoro.worker.plan import Wishes
from lavoro.worker.pools import NAMES

LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL"]


@click.command()
@APP_OPTION
@click.option("-c", "--concurrency", type=click.IntRange(1), help="Tasks at once in each process (prefork: processes).")
@click.option("-P", "--pool", type=click.Choice([*NAMES, "processes"]), help="How tasks run side by side; default gevent.")
@click.option("--processes", type=click.IntRange(1), help="Processes of a gevent or thread pool; default 1.")
@click.option("-Q", "--queues", callback=comma_separated, metavar="A,B", help="Queues to serve; default: the app's.")
@click.option("-X", "--exclude-queues", callback=comma_separated, metavar="A,B", help="Queues not to serve.")
@click.option("-n", "--hostname", help="Name of this node; %h host, %n its first part, %d its domain, %p process id.")
@click.option("-l", "--loglevel", default="WARNING", type=click.Choice(LEVELS, case_sensitive=False), show_default=True)
@click.option("-f", "--logfile", type=click.Path(dir_okay=False), help="Log there instead of standard error.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", help="json: one object a line.")
@click.option("-I", "--include", callback=comma_separated, metavar="A,B", help="More modules with tasks to import.")
@click.option("--time-limit", type=click.FloatRange(0, min_open=True), help="Hard limit of all tasks, in seconds.")
@click.option("--soft-time-limit", type=click.FloatRange(0, min_open=True), help="Soft limit of all tasks, in seconds.")
@click.option("--max-tasks-per-child", type=click.IntRange(1), help="Replace a process after so many tasks.")
@click.option("--grace", type=click.FloatRange(0), help="Seconds that running tasks get when the worker stops.")
@click.option("-b", "--broker", metavar="URL", help="The database, instead of the app's.")
@click.option("--pidfile", type=click.Path(dir_okay=False), help="Write the process id there.")
@click.option("-E", "--task-events", is_flag=True, help="Accepted for Celery's sake: everything is in the database.")
@click.option("--without-gossip", is_flag=True, hidden=True)
@click.option("--without-mingle", is_flag=True, hidden=True)
@click.option("--without-heartbeat", is_flag=True, hidden=True)
@click.option("-O", "optimization", hidden=True)
@click.option("--prefetch-multiplier", type=int, hidden=True)
@click.option("-B", "--beat", is_flag=True, help="Periodic tasks; not part of this release.")
@click.option("--stop-with", "parent", type=int, hidden=True, help="Stop when this inherited descriptor is closed.")
@click.pass_context
def worker(context: click.Context, app: str | None, **options: object) -> None:
    """Run tasks until told to stop.

    TERM or INT: finish what runs, up to the grace, give the rest back, exit 0. A second one, or QUIT: now.
    HUP: replace the processes.
    """
    if options["beat"]:
        raise click.UsageError("-B: periodic tasks are not part of this release; start the worker without it")
    wishes = _wishes(app_name(context, app), options)
    log.setup(wishes.loglevel, logfile=wishes.logfile, style=wishes.log_style)
    with _pidfile(options["pidfile"]):  # type: ignore[arg-type]
        sys.exit(supervisor.run(wishes, parent_descriptor=options["parent"]))  # type: ignore[arg-type]


def _wishes(app: str, options: dict[str, object]) -> Wishes:
    pool = options["pool"]
    return Wishes(
        app=app,
        pool="prefork" if pool == "processes" else pool,  # type: ignore[arg-type]
        concurrency=options["concurrency"],  # type: ignore[arg-type]
        processes=options["processes"],  # type: ignore[arg-type]
        queues=options["queues"],  # type: ignore[arg-type]
        exclude_queues=options["exclude_queues"],  # type: ignore[arg-type]
        hostname=options["hostname"],  # type: ignore[arg-type]
        loglevel=str(options["loglevel"]).upper(),
        logfile=options["logfile"],  # type: ignore[arg-type]
        log_style=str(options["log_format"]),
        time_limit=options["time_limit"],  # type: ignore[arg-type]
        soft_time_limit=options["soft_time_limit"],  # type: ignore[arg-type]
        max_tasks_per_child=options["max_tasks_per_child"],  # type: ignore[arg-type]
        grace=options["grace"],  # type: ignore[arg-type]
        database=options["broker"],  # type: ignore[arg-type]
        include=options["include"],  # type: ignore[arg-type]
    )


class _pidfile:
    """Hold a file with the process id while the worker runs."""

    def __init__(self, path: str | None) -> None:
        self._path = path

    def __enter__(self) -> None:
        if self._path:
            with open(self._path, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")

    def __exit__(self, *_: object) -> None:
        if self._path and os.path.exists(self._path):
            os.unlink(self._path)
