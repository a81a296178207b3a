"""The banner that a terminal shows when a worker starts: the facts that an operator looks for first."""

from __future__ import annotations

import os
import platform
from typing import NamedTuple

import lavoro
from lavoro.exceptions import LavoroError
from lavoro.store.database import Database
from lavoro.text.plural import counted
from lavoro.worker.config import WorkerConfig, WorkerOptions
from lavoro.worker.supervisor.storage import name_of

SHOWN = 10
"""Names of tasks that are shown; a debug line of the log has all."""


class Facts(NamedTuple):
    """The facts that only the database knows; empty and None while it does not answer."""

    server: str = ""
    """Its version, such as ``PostgreSQL 18.0``."""
    schedules: int | None = None
    """The number of schedules that are not paused."""


def facts_of(database: Database) -> Facts:
    """Ask the database; an outage does not keep a worker from its start."""
    try:
        with database.tx() as tx:
            [row] = tx.run("banner_facts")
    except LavoroError:
        return Facts()
    return Facts(*row)


def banner(config: WorkerConfig, options: WorkerOptions, node: str, facts: Facts) -> str:
    """Return the lines."""
    processes, slots = counted(config.processes, "process", "processes"), counted(config.slots, "slot")
    server = f", {facts.server}" if facts.server else ""
    lines = {
        "app": options.app,
        "database": f"{name_of(config)}, schema {config.schema}{server}",
        "node": f"{node}, process {os.getpid()}",
        "pool": f"{config.pool}, {processes} of {slots}{_bounds(config)}",
        "queues": ", ".join(config.queues),
        "schedules": _schedules(config, facts),
        "tasks": _tasks(config.tasks),
        "versions": f"Lavoro {lavoro.__version__}, Python {platform.python_version()}",
        "log": f"{options.logfile or 'standard error'}, level {options.loglevel.lower()}",
    }
    width = max(map(len, lines))
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in lines.items())


def _bounds(config: WorkerConfig) -> str:
    if config.autoscale is None:
        return ""
    most, least = config.autoscale
    what = "processes" if config.pool == "prefork" else "slots of each process"
    return f"; {least} to {most} {what} by load"


def _schedules(config: WorkerConfig, facts: Facts) -> str:
    if not config.runs_schedules:
        return "sent by other processes"
    return "sent by this worker" if facts.schedules is None else f"{facts.schedules}, sent by this worker too"


def _tasks(names: tuple[str, ...]) -> str:
    shown, more = ", ".join(names[:SHOWN]), len(names) - SHOWN
    return f"{len(names)}: {shown}{f' and {more} more' if more > 0 else ''}" if names else "none"
