"""Warnings at the start about an application that can work, but perhaps not as its user means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lavoro.config import absent
from lavoro.discovery import ambiguity
from lavoro.store.capacity import smallest
from lavoro.text.plural import counted
from lavoro.worker.child import unseen
from lavoro.worker.config import WorkerConfig, WorkerOptions, concurrency_of


def of_the_application(app: Any, wishes: WorkerOptions, plan: WorkerConfig) -> Iterator[str]:
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


def _numbers(wishes: WorkerOptions, pool: str, setting: int | None) -> Iterator[str]:
    name = f"-c {wishes.concurrency}" if wishes.concurrency else f"worker_concurrency = {setting}"
    concurrency = wishes.concurrency or setting or 1
    if pool == "solo" and concurrency > 1:
        yield f"{name} means nothing for the pool solo, which runs one task at a time: choose another with -P"
    if pool == "prefork" and wishes.processes and wishes.concurrency and wishes.concurrency != wishes.processes:
        yield (
            f"-c {wishes.concurrency} means nothing beside --processes {wishes.processes}:"
            " prefork runs one task in each process"
        )
