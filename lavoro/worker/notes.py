"""Warnings at the start of a worker that can work, but perhaps not as its user means."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Collection, Iterator
from typing import Any

from lavoro import absent
from lavoro.errors import LavoroError
from lavoro.loading import ambiguity
from lavoro.plural import counted
from lavoro.store.capacity import smallest
from lavoro.store.database import Database
from lavoro.store.queues import WorkerStatus, worker_status
from lavoro.worker import unseen
from lavoro.worker.plan import Plan, Wishes, concurrency_of


def of_the_application(app: Any, wishes: Wishes, plan: Plan) -> Iterator[str]:
    """Yield the warnings of the first child, which has loaded the application."""
    if doubt := ambiguity(wishes.app, app):
        yield doubt
    if not plan.tasks:
        yield (
            f"the application {wishes.app} has no tasks: name the modules that define them"
            " (settings include and imports, app.autodiscover_tasks, option -I)"
        )
    yield from absent.of_settings(app.conf.changes, "warned")
    yield from absent.of_tasks(app.tasks.values(), "warned")
    yield from _numbers(wishes, plan.pool, concurrency_of(app.conf))
    yield from unseen.of_the_import(app, plan)
    pool = smallest(app.engines())
    if plan.slots > pool.connections:
        yield (
            f"each process runs {plan.slots} tasks at once, but {pool.name} has"
            f" {counted(int(pool.connections), 'connection')} (pool_size + max_overflow): a task that waits longer than"
            f" {pool.timeout:g} s for one fails; start the worker with -c {pool.connections:g}, or enlarge the pool"
        )


def _numbers(wishes: Wishes, pool: str, setting: int | None) -> Iterator[str]:
    name = f"-c {wishes.concurrency}" if wishes.concurrency else f"worker_concurrency = {setting}"
    concurrency = wishes.concurrency or setting or 1
    if pool == "solo" and concurrency > 1:
        yield f"{name} means nothing for the pool solo, which runs one task at a time: choose another with -P"
    if pool == "prefork" and wishes.processes and wishes.concurrency and wishes.concurrency != wishes.processes:
        yield (
            f"-c {wishes.concurrency} means nothing beside --processes {wishes.processes}:"
            " prefork runs one task in each process"
        )


def of_the_node(database: Database, node: str, own: Collection[int]) -> Iterator[str]:
    """Yield a warning if a live worker has the same name.

    A process of this machine that is gone does not count, nor one whose number a process of our own has now.
    """
    host = socket.gethostname()
    found: list[WorkerStatus] = []
    with contextlib.suppress(LavoroError):  # an outage must not prevent the start
        found = [worker for worker in worker_status(database) if worker.node == node]
    namesakes = [worker for worker in found if worker.host != host or not (worker.pid in own or _is_gone(worker.pid))]
    if namesakes:
        first = namesakes[0]
        yield (
            f"a worker named {node} is alive already ({counted(len(namesakes), 'process', 'processes')}, one is"
            f" {first.pid} on {first.host}): give each worker a name of its own with -n"
        )


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
