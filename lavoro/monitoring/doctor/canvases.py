"""Checks of held tasks."""

from __future__ import annotations

from collections.abc import Iterator

from lavoro.monitoring.doctor.exam import Exam, Finding
from lavoro.text.commands import command
from lavoro.text.plural import counted


def stuck_barriers(exam: Exam) -> Iterator[Finding]:
    """Each held task waits for tasks that exist."""
    for id, name, remaining, members in exam.rows("stuck_barriers"):
        if remaining is None:
            problem = f"{name} is held, and its barrier is gone: it never starts"
        else:
            waits = counted(remaining, "task")
            problem = f"{name} waits for {waits}, and only {members} of them exist: it never starts"
        yield Finding("held", id, problem, command("task", "revoke", id))
