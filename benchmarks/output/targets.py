"""The targets that Lavoro has set itself, as a table that every report is held against."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.output.report import Row


@dataclass(frozen=True)
class Target:
    """A bound for a figure (a pattern) in a unit: of Lavoro's value, or of its ratio to another subject's."""

    figure: str
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    of: str | None = None

    def __str__(self) -> str:
        sign, bound = (">=", self.at_least) if self.at_least is not None else ("<=", self.at_most)
        return f"{sign} {bound:g}" + (f" of {self.of}" if self.of else "")

    def meets(self, value: float) -> bool:
        """Tell whether a value keeps the bound."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


TARGETS = (
    Target("drain, 1 process, finished", "tasks/s", at_least=0.5, of="prototype"),
    Target("drain, 2 processes, finished", "tasks/s", at_least=0.6, of="prototype"),
    Target("drain, * node*", "tasks/s", at_least=0.6, of="prototype"),
    Target("enqueue in turns, one by one, of the floor", "ratio", at_least=0.9),
    Target("enqueue in turns, in lists, of the floor", "ratio", at_least=0.7),
    Target("enqueue, 32 threads", "tasks/s", at_least=0.9, of="floor"),
    Target("enqueue while a worker runs, 32 *", "tasks/s", at_least=0.9, of="floor"),
    Target("enqueue, one by one", "tasks/s", at_least=1.5, of="Celery, prefork 2"),
    Target("enqueue, in lists", "tasks/s", at_least=1, of="PgQueuer, 2 workers"),
    Target("long drain of *", "tasks/s", at_least=2.2, of="PgQueuer, 2 workers"),
    Target("call to start, 100 calls/s, p50", "ms", at_most=1.5),
    Target("call to start, 100 calls/s, p99", "ms", at_most=8),
    Target("call to result, one by one, p50", "ms", at_most=1.3, of="floor"),
    Target("group of *, sent", "tasks/s", at_least=10, of="Celery, prefork 2"),
    Target("chord of *, whole", "tasks/s", at_least=20, of="Celery, prefork 2"),
    Target("chord of *, of the plain calls", "ratio", at_least=0.6),
    Target("chord of *, its body after the last member", "ms", at_most=100),
    Target("chain of *", "steps/s", at_least=3, of="Celery, prefork 2"),
    Target("* chords of *", "chords/s", at_least=15, of="Celery, prefork 2"),
    Target("chord of *, snapshot held, of the same without", "ratio", at_least=0.9),
    Target("late on its due time, *, p99", "ms", at_most=20),
    Target("urgent call to start beside *, p99", "ms", at_most=50),
    Target("claim + finish, * waiting, of the rate with 10,000", "ratio", at_least=0.95),
    Target("claim + finish, * for later, of the rate with 10,000", "ratio", at_least=0.95),
    Target("drain, 2 processes, snapshot held, last of first tenth", "ratio", at_least=0.9),
    Target("drain, 2 processes, four overlapping readers, last of first tenth", "ratio", at_least=0.9),
    Target("claim + finish, after *, of the first", "ratio", at_least=0.9),
    Target("whole life, called * *", "WAL bytes/task", at_most=1300),
    Target("whole life, *, besides the enqueue", "commits/task", at_most=0.03),
    Target("command to its effect, *, p99", "ms", at_most=50),
    Target("10,000 running tasks listed", "ms", at_most=100),
    Target("idle, statements", "per s", at_most=2),
    Target("idle, CPU", "ms/s", at_most=10),
    Target("memory of a child at start, resident", "MB", at_most=60),
    Target("memory of a child, growth", "KB/1,000 tasks", at_most=1),
    Target("retention, *, while dropping, p99", "ms", at_most=50),
    Target("* finished, first page, the slowest", "ms", at_most=50),
    Target("* finished, answer, the slowest", "ms", at_most=50),
    Target("list of *, growth of the process", "MB", at_most=20),
    Target("bulk * of *", "tasks/s", at_least=20_000),
    Target("call to start, *, beside a bulk *, p99 of that before", "ratio", at_most=2),
    Target("500 idle nodes, server CPU", "ms/s", at_most=10),
    Target("one task of *, short ones held back", "tasks", at_most=0),
    Target("a killed child's task runs again after *", "s", at_most=1),
    Target("a killed node's task runs again after, *", "s", at_most=10),
    Target("after a crash of the server the first task runs after *", "s", at_most=3),
    Target("SIGTERM, all of them waiting again after", "s", at_most=1),
    Target("SIGTERM, of them with a start counted", "tasks", at_most=0),
)


@dataclass(frozen=True)
class Verdict:
    """What a target says of a measured row."""

    target: Target
    value: float
    met: bool


def verdicts(row: Row) -> list[Verdict]:
    """Hold a row against every target that fits it."""
    found = []
    for target in TARGETS:
        if target.unit == row.unit and fnmatchcase(row.figure, target.figure):
            value = row.ratio(target.of) if target.of else _median(row.values.get("lavoro", []))
            if value is not None:
                found.append(Verdict(target, value, target.meets(value)))
    return found


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None
