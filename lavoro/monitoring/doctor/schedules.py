"""Checks of the schedules of periodic tasks."""

from __future__ import annotations

from collections.abc import Iterator

from lavoro.monitoring.doctor.exam import Exam, Finding
from lavoro.store import entries
from lavoro.store.entries import Problem
from lavoro.text.commands import command


def problems(exam: Exam) -> Iterator[Finding]:
    """Schedules are on time, a worker knows their tasks, and none has an error."""
    for problem in entries.problems(exam.tx, limit=exam.shown):
        yield Finding("schedule", problem.name, problem.words, _repair(problem))


def _repair(problem: Problem) -> str:
    if problem.kind == "unserved":
        return command("worker")
    if problem.kind == "unknown":
        return f"-- start a worker that has the task, or `{command('schedule', 'delete', problem.name)}`"
    if problem.kind == "error":
        return f"-- correct it: `{command('schedule', 'check')}` says where it is defined"
    return "-- look for errors of the ticker in the logs of the workers, or for a session that locks lavoro.schedule"
