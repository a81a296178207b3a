"""A worker's part, done by hand, and the statements that are run meanwhile."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from lavoro import AsyncResult, Lavoro
from lavoro.protocol import outcome
from lavoro.protocol.message import Job
from lavoro.store import tasks as store
from tests.store.walk import registered, succeeded, take

Statements = Counter[str]
Send = Callable[[int], list[AsyncResult[Any]]]


class Hand:
    """A worker's part, done by hand: takes all waiting tasks, and ends them when the test says so."""

    def __init__(self, app: Lavoro) -> None:
        self.tx = app.database.open("lavoro-test")
        registered(self.tx)
        self.jobs: dict[str, Job] = {}
        self.timer = threading.Timer(0, lambda: None)

    def take(self) -> None:
        while jobs := take(self.tx, limit=500):
            self.jobs.update((str(job.id), job) for job in jobs)

    def end(self, *results: AsyncResult[Any], value: str = "1") -> None:
        if not self.jobs.keys() >= {result.id for result in results}:
            self.take()
        for begin in range(0, len(results), 500):
            batch = [self.jobs.pop(result.id) for result in results[begin : begin + 500]]
            store.finish(self.tx, 1, [succeeded(job, value) for job in batch])

    def end_soon(self, *results: AsyncResult[Any]) -> None:
        """End them in another thread, after the caller has begun to wait."""
        self.timer = threading.Timer(0.05, self.end, results)
        self.timer.start()

    def fail(self, result: AsyncResult[Any], error: str = '{"exc_type":"KeyError","exc_message":["x"]}') -> None:
        self.take()
        store.finish(self.tx, 1, [outcome.failed(self.jobs.pop(result.id), error, "Trace")])
