"""Checks of the queues, and of the workers that serve them."""

from __future__ import annotations

from collections.abc import Iterator

from lavoro.config import spelling
from lavoro.monitoring.doctor.exam import Exam, Finding
from lavoro.text.commands import command
from lavoro.text.plural import counted


def tasks_without_a_worker(exam: Exam) -> Iterator[Finding]:
    """A worker is alive."""
    for (count,) in exam.rows("tasks_without_a_worker"):
        waiting = f", and {_waiting(count)}" if count else ""
        yield Finding("worker", "none", f"is alive: no task starts{waiting}", command("worker"))


def _waiting(count: int) -> str:
    return counted(count, "task waits", "tasks wait")


def unserved_queues(exam: Exam) -> Iterator[Finding]:
    """A live worker serves each queue that has due tasks."""
    for queue, count, seconds, quiet in exam.rows("unserved_queues", backlog=exam.backlog):
        waits = f"{_waiting(count)}, the oldest for {seconds:.0f} s, and"
        if quiet:
            resume = command("control", "-d", ",".join(quiet), "resume")
            yield Finding("queue", queue, f"{waits} the workers that serve it are quiet: {', '.join(quiet)}", resume)
        else:
            yield Finding("queue", queue, f"{waits} no live worker serves it", command("worker", "-Q", queue))


def unknown_tasks(exam: Exam) -> Iterator[Finding]:
    """A worker of each queue has the tasks that wait there."""
    for name, queue, count in exam.rows("unknown_tasks", backlog=exam.backlog):
        near = spelling.nearest(name, frozenset(each for (each,) in exam.rows("known_tasks")))
        meant = f"did you mean {near!r}? " if near else ""
        problem = f"{_waiting(count)} on the queue {queue}, and no live worker there has that task"
        delete = command("task", "delete", "--name", name)
        yield Finding("task", name, problem, f"-- {meant}start a worker that has the task, or `{delete}`")


def paused_queues(exam: Exam) -> Iterator[Finding]:
    """No queue is paused."""
    for queue, seconds, count in exam.rows("paused_queues"):
        problem = f"has been paused for {seconds:.0f} s; {_waiting(count)} on it"
        yield Finding("queue", queue, problem, command("queue", "resume", queue))


def silent_workers(exam: Exam) -> Iterator[Finding]:
    """Workers renew their leases: long before half of one is over, whether it is short or long."""
    for worker, host, pid, seconds, over, held in exam.rows("silent_workers"):
        if over:
            state = "its lease has expired, and no other node is there to rescue its tasks"
            repair = command("worker")
        else:
            state = "its lease expires soon"
            repair = f"-- check process {pid} on {host} and its connection to the database"
        problem = f"has not renewed its lease for {seconds:.0f} s and holds {counted(held, 'task')}: {state}"
        yield Finding("worker", worker, problem, repair)


def orphans(exam: Exam) -> Iterator[Finding]:
    """No worker that has ended holds tasks."""
    for worker_id, count in exam.rows("orphans"):
        yield Finding(
            "worker", str(worker_id), f"is gone and still holds {counted(count, 'task')}: no node rescues them",
            command("worker"),
        )  # fmt: skip
