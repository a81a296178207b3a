"""Checks for sessions that keep others from the tables."""

from __future__ import annotations

from collections.abc import Iterator

from lavoro.monitoring.doctor.exam import Exam, Finding
from lavoro.text.plural import counted


def closed_tables(exam: Exam) -> Iterator[Finding]:
    """No session keeps all others from a table for long; if one does, other checks would wait for it too."""
    for pid, user, application, state, seconds, tables in exam.rows("exclusive_locks"):
        if (seconds or 0.0) > exam.locked:
            yield _finding(pid, user, application, f"is {state}, and keeps all others from {tables} for", seconds)


def blocking_sessions(exam: Exam) -> Iterator[Finding]:
    """No session makes others wait for a lock for long."""
    for pid, user, application, state, seconds, waiting, tables in exam.rows("blocking_sessions"):
        if (seconds or 0.0) > exam.locked:
            others = counted(waiting, "session waits", "sessions wait")
            yield _finding(pid, user, application, f"is {state}, and {others} for its lock of {tables} for", seconds)


def _finding(pid: int, user: str, application: str, problem: str, seconds: float) -> Finding:
    session = f"session {pid} of {user} ({application})"
    return Finding("lock", session, f"{problem} {seconds:.0f} s", f"select pg_terminate_backend({pid});")
