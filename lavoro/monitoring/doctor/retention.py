"""Checks of the partitions: those to come are made, those past their retention are dropped."""

from __future__ import annotations

from collections.abc import Iterator

from lavoro.monitoring.doctor.exam import Exam, Finding, literal
from lavoro.store.schema import partitions
from lavoro.store.statements import render
from lavoro.text.commands import command

_NEXT_LOOK = 3600.0
"""Workers drop partitions every ten minutes: one that is late by so many seconds stays."""


def late_partitions(exam: Exam) -> Iterator[Finding]:
    """Partitions are made two periods ahead, and dropped when they are past their retention."""
    for table, kept in exam.retention.items():
        if kept is not None:
            yield from _partitions_ahead(exam, table, kept)
            yield from _partitions_behind(exam, table, kept)


def _partitions_ahead(exam: Exam, table: str, kept: float) -> Iterator[Finding]:
    ends = [partition.ends for partition in partitions.partitions_of(exam.tx, table)]
    last = max(ends, default=None)
    [[missing]] = exam.rows("missing_partition", last=last, span=partitions.period(kept))
    if missing:
        until = f"the last partition ends {last:%Y-%m-%d %H:%M %Z}" if last else "there is no partition"
        problem = f"{until}: later rows are deleted one by one, not dropped"
        yield Finding("partition", table, problem, f"{command('migrate')}  # a running worker does it, too")


def _partitions_behind(exam: Exam, table: str, kept: float) -> Iterator[Finding]:
    found = partitions.partitions_of(exam.tx, table)
    names, ends = [partition.name for partition in found], [partition.ends for partition in found]
    for (name,) in exam.rows("overdue_partitions", names=names, ends=ends, late=kept + _NEXT_LOOK):
        repair = render(f"select {{schema}}.drop_partition({literal(name)});", exam.tx.schema)
        yield Finding("partition", name, "is past its retention and was not dropped", repair)
