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


def of_the_application(app: Any, options: WorkerOptions, config: WorkerConfig) -> Iterator[str]:
    """Yield the warnings of the first child, which has loaded the application."""
    if doubt := ambiguity(options.app, app):
        yield doubt
    if not config.tasks:
        yield (
            f"the application {options.app} has no tasks: name the modules that define them"
            " (settings include and imports, app.autodiscover_tasks, option -I)"
        )
    yield from absent.of_settings(app.conf.changes, "warned")
    yield from absent.of_tasks(app.tasks.values(), "warned")
    yield from _numbers(options, config.pool, concurrency_of(app.conf))
    yield from unseen.of_the_import(app, config)
    pool = smallest(app.engines())
    if config.slots > pool.connections:
        yield (
            f"each process runs {config.slots} tasks at once, but {pool.name} has"
            f" {counted(int(pool.connections), 'connection')} (pool_size + max_overflow): a task that waits longer than"
            f" {pool.timeout:g} s for one fails; start the worker with -c {pool.connections:g}, or enlarge the pool"
        )


def _numbers(options: WorkerOptions, pool: str, setting: int | None) -> Iterator[str]:
    name = f"-c {options.concurrency}" if options.concurrency else f"worker_concurrency = {setting}"
    concurrency = options.concurrency or setting or 1
    if pool == "solo" and concurrency > 1:
        yield f"{name} means nothing for the pool solo, which runs one task at a time: choose another with -P"
    if pool == "prefork" and options.processes and options.concurrency and options.concurrency != options.processes:
        yield (
            f"-c {options.concurrency} means nothing beside --processes {options.processes}:"
            " prefork runs one task in each process"
        )
