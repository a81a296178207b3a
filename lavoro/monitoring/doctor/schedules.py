"""Checks of the schedules of periodic tasks."""

from __future__ import annotations

from collections.abc import Iterator

from lavoro.config import spelling
from lavoro.monitoring.doctor.exam import Exam, Finding
from lavoro.store import entries
from lavoro.store.entries import Problem
from lavoro.text.commands import command


def problems(exam: Exam) -> Iterator[Finding]:
    """Schedules are on time, a worker knows their tasks, and none has an error."""
    for problem in entries.problems(exam.tx, limit=exam.shown):
        yield Finding("schedule", problem.name, problem.words, _repair(exam, problem))


def _repair(exam: Exam, problem: Problem) -> str:
    if problem.kind == "unserved":
        return command("worker")
    if problem.kind == "unknown":
        near = spelling.nearest(problem.task, frozenset(task for (task,) in exam.rows("scheduled_tasks")))
        meant = f"did you mean {near!r}? " if near else ""
        if problem.origin == "code":  # a worker stores a deleted one of code again
            return f"-- {meant}correct the task's name in the code, or start a worker that has the task"
        return f"-- {meant}start a worker that has the task, or `{command('schedule', 'delete', problem.name)}`"
    if problem.kind == "error":
        if problem.origin == "code":
            return "-- correct its definition in the code"
        return f"-- correct its definition, which `{command('schedule', 'show', problem.name)}` shows"
    return "-- look for errors of the ticker in the logs of the workers, or for a session that locks lavoro.schedule"
