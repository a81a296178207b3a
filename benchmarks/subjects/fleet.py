"""Many idle nodes in one process, `python -m benchmarks.subjects.fleet DSN NODES`: a worker's services, no children.

Each node has its listener, its upkeep and its claimer with their connections, as an idle worker of one process has.
What they claim is recorded as started and never finished.
"""

from __future__ import annotations

if __name__ == "__main__":  # before psycopg is imported, because it chooses how to wait at its import
    from gevent import monkey

    monkey.patch_all()

import json
import os
import socket
import sys
import threading
import uuid
from typing import Any

from benchmarks.stage.hits import record
from lavoro import __version__
from lavoro.message import Job
from lavoro.store.database import Database
from lavoro.store.listener import Listener
from lavoro.store.partitions import DEFAULT_RETENTION
from lavoro.store.workers import Registration
from lavoro.worker.claimer import Claimer
from lavoro.worker.holding import Holding
from lavoro.worker.offers import Offers
from lavoro.worker.upkeep import Hooks, Upkeep

LEASE, POLL, SLOTS = 30.0, 1.0, 100


class Pool:
    """Slots that are always free."""

    slots, waiting, outstanding = SLOTS, 0, 0

    def add(self, jobs: list[Job]) -> None:
        """Record the starts."""
        for job in jobs:
            record(*json.loads(job.args or "[0]"))


class Node:
    """What a supervisor and its one child hold, without the processes."""

    def __init__(self, dsn: str, number: int) -> None:
        self.database = Database(dsn)
        hooks = Hooks(lost=lambda ids: None, cancel=lambda wanted: None)
        name, host, pid = f"fleet-{os.getpid()}-{number}", socket.gethostname(), os.getpid()
        self.upkeep = Upkeep(
            self.database, hooks, node=name, lease=LEASE, max_crashes=3, retention=dict(DEFAULT_RETENTION)
        )
        self.listener = Listener(self.database, "wake", self.heard)
        self.upkeep.start()
        self.listener.start()
        lease = Registration(name, 0, host, pid, "gevent", SLOTS, ["celery"], __version__, LEASE)
        self.claimer: Claimer | None = None
        self.worker_id = 0
        self.upkeep.register(lease, self.begin)

    def begin(self, worker_id: int) -> None:
        """Start claiming, as a child does when it has its lease."""
        self.worker_id = worker_id
        pool: Any = Pool()
        holding = Holding()
        self.claimer = Claimer(
            self.database, pool, holding, worker_id=worker_id, queues=["celery"], prefetch=500, poll_interval=POLL,
            rest=self.rest, offers=Offers(holding, worker_id=worker_id, slots=SLOTS),
        )  # fmt: skip
        self.claimer.start()

    def rest(self, resting: bool) -> None:
        """Listen while the claimer sleeps, and tell it from when on."""
        self.listener.want(["queue:celery"] if resting else [])
        if resting and self.claimer is not None:
            self.listener.when_heard(self.claimer.confirm_rest)

    def heard(self, payload: str | None) -> None:
        """Pass a notification on, as the switchboard does."""
        if self.claimer is None:
            return
        if payload is not None and payload.startswith(">"):
            worker_id, _, id = payload[1:].partition(":")
            if int(worker_id) == self.worker_id:
                self.claimer.hand(uuid.UUID(id))
        else:
            self.claimer.notified(payload or "!")


def main(dsn: str, count: int) -> None:
    """Start the nodes and stay until killed."""
    nodes = [Node(dsn, number) for number in range(count)]
    threading.Event().wait()
    del nodes


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
