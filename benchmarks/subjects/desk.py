"""Claims and finishes through the store's own functions, in turns and without a worker: what the statements allow."""

from __future__ import annotations

import os
import socket
import statistics
import time

from benchmarks.stage import fill
from lavoro import __version__
from lavoro.protocol.outcome import succeeded
from lavoro.store import tasks, workers
from lavoro.store.database import Database
from lavoro.store.tasks import Lane
from lavoro.store.workers import Registration
from lavoro.worker.child.capacity import BATCH
from lavoro.worker.child.lanes import EVERYTHING, LAG


class Desk:
    """One connection that does a worker's part of the database work on the queue "celery"."""

    def __init__(self, dsn: str) -> None:
        self.tx = Database(dsn).open("lavoro-benchmarks")
        who = Registration("desk", 0, socket.gethostname(), os.getpid(), "solo", 1, ["celery"], __version__, 3600.0)
        self.worker_id = workers.register(self.tx, who)
        self.bound = EVERYTHING

    def walk(self, count: int) -> float:
        """Claim and finish so many due tasks; return the seconds it took."""
        start, left = time.perf_counter(), count
        while left > 0:
            jobs = tasks.claim(self.tx, self.worker_id, lanes=[Lane("celery", 0, self.bound)], limit=min(BATCH, left))
            if not jobs:
                raise RuntimeError(f"the claim found nothing with {left} of {count} tasks still expected")
            finished = tasks.finish(self.tx, self.worker_id, [succeeded(job, "null", 0.001) for job in jobs])
            if finished != len(jobs):
                raise RuntimeError(f"{len(jobs)} tasks were claimed, but only {finished} outcomes accepted")
            self.bound = jobs[0].due - LAG
            left -= len(jobs)
        return time.perf_counter() - start

    def rate(self, count: int, slices: int = 20) -> float:
        """Walk in slices and return the median of their rates: a short disturbance of the machine does not count."""
        size = count // slices
        return statistics.median(size / self.walk(size) for _ in range(slices))

    def refill(self, count: int) -> None:
        """Add so many tasks that are due now."""
        fill.waiting(self.tx.connection, count)

    def close(self) -> None:
        """Close the connection."""
        self.tx.connection.close()
