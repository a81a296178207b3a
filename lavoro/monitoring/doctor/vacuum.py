"""Checks for what keeps vacuum from removing dead rows."""

from __future__ import annotations

from collections.abc import Iterator

from lavoro.monitoring.doctor.exam import Exam, Finding, literal
from lavoro.text.plural import counted

_BLOAT = "rows that were deleted since cannot be cleaned up, so tables grow and claims get slower"


def old_snapshots(exam: Exam) -> Iterator[Finding]:
    """No session keeps a transaction open for long."""
    for pid, user, application, state, seconds, age in exam.rows("old_snapshots", patience=exam.patience):
        yield Finding(
            "snapshot", f"session {pid} of {user} ({application})",
            f"is {state} in a transaction of {seconds:.0f} s, {counted(age, 'transaction')} old: {_BLOAT}",
            f"select pg_terminate_backend({pid});",
        )  # fmt: skip


def unused_slots(exam: Exam) -> Iterator[Finding]:
    """No replication slot is left behind."""
    for name, age in exam.rows("unused_slots"):
        yield Finding(
            "snapshot", f"replication slot {name}", f"is not in use and {counted(age, 'transaction')} old: {_BLOAT}",
            f"select pg_drop_replication_slot({literal(name)});",
        )  # fmt: skip


def forgotten_transactions(exam: Exam) -> Iterator[Finding]:
    """No prepared transaction is left behind."""
    for gid, owner, seconds, age in exam.rows("forgotten_transactions", patience=exam.patience):
        yield Finding(
            "snapshot", f"prepared transaction {gid} of {owner}",
            f"was left for {seconds:.0f} s, {counted(age, 'transaction')}: it holds its locks, and {_BLOAT}",
            f"rollback prepared {literal(gid)};  -- or commit prepared, if its other half was committed",
        )  # fmt: skip
