"""The tables of a frame: their titles, and their lines as texts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lavoro.cli.common import clock
from lavoro.cli.output import say, show_table
from lavoro.monitoring.top import Failing, Frame, Queue, Running, Worker
from lavoro.text.plural import counted


class View(NamedTuple):
    """One of the tables: its lines come from a frame, and each line has a key by which it is found again."""

    name: str
    title: str
    titles: Sequence[str]
    lines: Callable[[Frame], Sequence[Any]]
    cells: Callable[[Any], Sequence[str]]
    key: Callable[[Any], Any]
    empty: str


def rate(value: float | None) -> str:
    """Write tasks per second; nothing where they are not known."""
    if value is None:
        return ""
    return f"{value:,.0f}/s" if value >= 10 or value == 0 else f"{value:.1f}/s"


def age(seconds: float | None) -> str:
    """Write seconds as people read them.

    >>> age(4.2), age(75), age(7260)
    ('4 s', '1:15 min', '2:01 h')
    """
    if seconds is None:
        return ""
    whole = int(max(seconds, 0))
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60}:{whole % 60:02} min" if whole < 3600 else f"{whole // 3600}:{whole % 3600 // 60:02} h"


def _queue(row: Queue) -> Sequence[str]:
    more = "" if row.exact else "+"
    note = ", ".join(["paused"] * row.paused + ["no worker serves it"] * (not row.served))
    counts = [f"{count:,}{more}" for count in (row.ready, row.scheduled, row.held)]
    return [row.name, *counts, f"{row.running:,}", rate(row.rate_in), rate(row.rate_out), age(row.oldest), note]


def _worker(row: Worker) -> Sequence[str]:
    note = "quiet" if row.quiet else ""
    return [
        f"{row.node}/{row.process}", str(row.pid), row.pool, f"{row.running:,} of {row.slots:,}", rate(row.rate),
        age(row.seen), ", ".join(row.queues), note,
    ]  # fmt: skip


def _running(row: Running) -> Sequence[str]:
    note = "is told to end" if row.ending else f"start {row.start}" if row.start > 1 else ""
    return [age(row.seconds), row.name, row.id, row.queue, row.node or "", note]


def _failing(row: Failing) -> Sequence[str]:
    return [f"{row.failed:,}", row.name, row.error, age(row.seconds), row.example, row.message or ""]


VIEWS = (
    View(
        "queues", "Queues", ("queue", "ready", "later", "held", "running", "in", "out", "oldest", "note"),
        lambda frame: frame.queues, _queue, lambda row: row.name, "no tasks wait or run",
    ),
    View(
        "workers", "Workers", ("worker", "pid", "pool", "busy", "out", "seen", "queues", "note"),
        lambda frame: frame.workers, _worker, lambda row: (row.node, row.process), "no worker lives",
    ),
    View(
        "running", "Running tasks, the slowest first", ("for", "task", "id", "queue", "worker", "note"),
        lambda frame: frame.running, _running, lambda row: row.id, "no task runs",
    ),
    View(
        "failing", "Failures of the last 15 minutes", ("failed", "task", "error", "last", "last id", "message"),
        lambda frame: frame.failing, _failing, lambda row: (row.name, row.error), "no task has failed",
    ),
)  # fmt: skip


def summary(frame: Frame) -> str:
    """Return the sums of a frame in one line."""
    more = "" if all(queue.exact for queue in frame.queues) else " or more"
    came = [queue.rate_in for queue in frame.queues]
    known = [each for each in came if each is not None]
    parts = [
        f"{counted(sum(queue.ready for queue in frame.queues), 'task waits', 'tasks wait')}{more}",
        f"{counted(sum(queue.running for queue in frame.queues), 'runs', 'run')}",
        counted(len({worker.node for worker in frame.workers}), "node"),
    ]
    if frame.seconds is not None:
        into = rate(sum(known)) if len(known) == len(came) else "?"
        parts.append(f"in {into}, out {rate(sum(queue.rate_out or 0.0 for queue in frame.queues))}")
    return ", ".join(parts)


def print_frame(frame: Frame, zone: dt.tzinfo) -> None:
    """Print a frame as tables, for no terminal."""
    say(f"{clock(frame.at.replace(microsecond=0), zone)}: {frame.database}: {summary(frame)}")
    for view in VIEWS:
        rows = [view.cells(row) for row in view.lines(frame)]
        show_table(view.titles, rows, title=view.title) if rows else say(view.empty)
