"""``lavoro health``: tell by the exit code whether this node's worker is healthy."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import click

from lavoro.cli.common import load_app
from lavoro.cli.options import APP_OPTION, liveness_option
from lavoro.cli.output import say, say_json
from lavoro.cli.schemas import json_option
from lavoro.store import entries
from lavoro.store.entries import Problem
from lavoro.store.errors import translated
from lavoro.store.queues import WorkerStatus, worker_status
from lavoro.text.commands import command
from lavoro.text.plural import counted
from lavoro.text.printable import plain
from lavoro.worker.config import node_name

SHOWN = 100
"""The most schedules with a problem that are counted."""


class Health(NamedTuple):
    """Whether a worker is well, and why not."""

    well: bool
    words: str


@click.command(short_help="Tell whether this node's worker is well.")
@APP_OPTION
@click.option("-n", "--hostname", metavar="NAME", help="The node, as given to its worker; default: worker@%h.")
@liveness_option(click.Path(dir_okay=False))
@click.option(
    "--max-age", type=click.FloatRange(0, min_open=True), default=30.0, show_default=True,
    metavar="SECONDS", help="Maximum age of the last sign of life.",
)  # fmt: skip
@click.option("--schedules", is_flag=True, help="Not well either while a schedule is late or has an error.")
@json_option(Health)
@click.pass_context
def health(
    context: click.Context, app: str | None, hostname: str | None, liveness_file: str | None, max_age: float,
    schedules: bool, as_json: bool,
) -> None:  # fmt: skip
    """Tell in one line whether this node's worker is well; exit code 0 if so, else 1.

    With a liveness file the file alone is asked: it is touched only while the worker's lease is renewed and its loops
    turn. Without one the database is asked whether the node has a live lease, and which schedules are late or have an
    error; these change the exit code with --schedules alone, because a restart of the worker may not mend them.
    """
    if liveness_file and schedules:
        raise click.UsageError("--schedules asks the database: leave out --liveness-file")
    if liveness_file:
        problem, words = _ask_file(Path(liveness_file), max_age)
    else:
        node = node_name(hostname)
        database = load_app(context, app).database
        with translated(), database.tx() as tx:
            workers = [worker for worker in worker_status(database) if worker.node == node]
            wrong = entries.problems(tx, limit=SHOWN)
        problem, words = _ask_workers(node, workers, max_age)
        if wrong:
            problem, words = problem or schedules, f"{words}; {_told(wrong)}"
    say_json(Health(not problem, words)) if as_json else say(plain(words))
    context.exit(1 if problem else 0)


def _told(wrong: list[Problem]) -> str:
    """Tell of schedules with a problem."""
    first, more = wrong[0], "" if len(wrong) == 1 else f", and {len(wrong) - 1} more have a problem"
    return f"the schedule {first.name!r} {first.words}{more} (see {command('doctor')})"


def _ask_file(path: Path, max_age: float) -> tuple[bool, str]:
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return True, f"not well: there is no {path}; the worker has not begun, or has ended"
    except OSError as error:
        return True, f"not well: {path} cannot be looked at: {error.strerror}"
    if age > max_age:
        return True, f"not well: for {age:.0f} s leases were not renewed, loops did not turn, or there is no worker"
    return False, f"well {max(age, 0.0):.0f} s ago"


def _ask_workers(node: str, workers: list[WorkerStatus], max_age: float) -> tuple[bool, str]:
    if not workers:
        return True, f"not well: {node} has no process with a live lease"
    seen = max(worker.seen for worker in workers)
    if max(worker.silent for worker in workers) > max_age:
        return True, f"not well: {node} has not renewed a lease for {seen:.0f} s"
    processes = counted(len(workers), "process", "processes")
    return False, f"{node} is well: {processes}, leases renewed {max(seen, 0.0):.0f} s ago"
