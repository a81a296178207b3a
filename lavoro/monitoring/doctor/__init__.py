"""Finds what is wrong with a database that Lavoro works in, and how to repair it; changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from psycopg.errors import LockNotAvailable

from lavoro.monitoring.doctor import canvases, locks, retention, schedules, schema, server, vacuum, workers
from lavoro.monitoring.doctor.exam import Exam, Finding
from lavoro.monitoring.doctor.role import examine_role

__all__ = ["Exam", "Finding", "examine", "examine_role", "unseen"]

CHECKS: Sequence[Callable[[Exam], Iterator[Finding]]] = (
    schema.encoding,
    locks.blocking_sessions,
    schema.drift,
    schema.invalid_indexes,
    vacuum.old_snapshots,
    vacuum.unused_slots,
    vacuum.forgotten_transactions,
    server.unsafe_settings,
    server.clock_skew,
    server.tasks_from_the_future,
    server.used_connections,
    server.pooler,
    workers.tasks_without_a_worker,
    workers.unserved_queues,
    workers.unknown_tasks,
    workers.paused_queues,
    workers.silent_workers,
    workers.orphans,
    canvases.stuck_barriers,
    schedules.problems,
    retention.late_partitions,
)
"""In the order in which their findings are printed."""


def examine(exam: Exam) -> list[Finding]:
    """Make all checks; a table that cannot be read, or a schema of another release, is the only finding."""
    for decisive in (locks.closed_tables, schema.version):
        if found := list(decisive(exam)):
            return found
    exam.tx.cursor.execute(b"set lock_timeout = '5s'")
    try:
        return [finding for check in CHECKS for finding in check(exam)]
    except LockNotAvailable:  # a lock that was young at the first look
        if found := list(locks.closed_tables(replace(exam, locked=0.0))):
            return found
        raise


def unseen(exam: Exam) -> list[str]:
    """List the subjects that the connected user may not see, so that nothing was found there."""
    [[allowed]] = exam.rows("sees_all_sessions")
    return [] if allowed else ["the sessions of other users: grant pg_read_all_stats to the user that asks"]
