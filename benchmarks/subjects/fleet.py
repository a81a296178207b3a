"""Many idle nodes in one process, `python -m benchmarks.subjects.fleet DSN NODES`: a worker's services, no children.

Each node has its router, its upkeep and its claimer with their connections, as an idle worker of one process has.
What they claim is recorded as started and never finished. A node that holds nothing says so after half a minute, by
what a child says it with, so that its lease gets long.
"""

from __future__ import annotations

if __name__ == "__main__":  # before psycopg is imported, because it chooses how to wait at its import
    from gevent import monkey

    monkey.patch_all()

import json
import os
import socket
import sys
import time
from typing import Any

from benchmarks.stage.hits import record
from lavoro import __version__
from lavoro.protocol.message import Job
from lavoro.store.database import Database
from lavoro.store.schema.partitions import DEFAULT_RETENTION
from lavoro.store.workers import Registration
from lavoro.worker.child.capacity import Capacity
from lavoro.worker.child.claimer import Claimer
from lavoro.worker.child.in_flight import InFlight
from lavoro.worker.child.lanes import LaneScanner
from lavoro.worker.child.offers import Offers
from lavoro.worker.child.sleep import Sleep
from lavoro.worker.supervisor.duty import Hooks
from lavoro.worker.supervisor.notifications import Heard, NotificationRouter
from lavoro.worker.supervisor.upkeep import Terms, Upkeep

LEASE, POLL, SLOTS = 30.0, 1.0, 100
LOOK = 1.0
"""Seconds between looks whether a child is idle, as of its ticker."""


class Pool:
    """Slots that are always free."""

    slots, waiting, outstanding = SLOTS, 0, 0

    def add(self, jobs: list[Job]) -> None:
        """Record the starts."""
        for job in jobs:
            record(*json.loads(job.args or "[0]"))


class Child:
    """What the router knows of a child, and the pipe to it: orders reach its claimer at once."""

    worker_id: int | None = None
    sleeping = False

    def __init__(self) -> None:
        self.claimer: Claimer | None = None
        self.pipe = self

    def send(self, kind: str, *, listening: bool) -> None:
        """Tell the claimer whether the supervisor listens for it."""
        if self.claimer is not None:
            self.claimer.confirm_sleep(listening=listening)

    def try_send(self, kind: str, *, what: str) -> None:
        """Pass a notification on."""
        if self.claimer is not None:
            self.claimer.notified(what)


class Node:
    """What a supervisor and its one child hold, without the processes."""

    def __init__(self, dsn: str, number: int) -> None:
        self.database = Database(dsn)
        hooks = Hooks(lost=lambda ids: None, cancel=lambda wanted: None)
        name, host, pid = f"fleet-{os.getpid()}-{number}", socket.gethostname(), os.getpid()
        self.upkeep = Upkeep(self.database, hooks, Terms(name, LEASE, 3, dict(DEFAULT_RETENTION)))
        self.child: Any = Child()
        self.ready = [self.child]
        children: Any = self
        nothing: Any = lambda *_: None  # noqa: E731
        heard = Heard(
            self.upkeep.renew,
            self.upkeep.expect_expiry,
            handle=nothing,
            interrupt=nothing,
            schedules=nothing,
            limits=nothing,
            command=nothing,
        )
        self.router = NotificationRouter(self.database, children, heard)
        self.router.queues = ("celery",)
        self.in_flight = InFlight(self.upkeep.idle)
        self.upkeep.start()
        self.router.start()
        lease = Registration(name, 0, host, pid, "gevent", SLOTS, ["celery"], __version__, LEASE)
        self.upkeep.register(lease, self.begin)

    def begin(self, worker_id: int) -> None:
        """Start claiming, as a child does when it has its lease."""
        pool: Any = Pool()
        self.child.worker_id = worker_id
        offers = Offers(self.in_flight, worker_id=worker_id, slots=SLOTS)
        self.child.claimer = Claimer(
            self.database, offers, capacity=Capacity(pool, self.in_flight, offers, prefetch=500),
            scanner=LaneScanner(["celery"]),
            sleep=Sleep(lambda asked: self.router.set_sleeping(self.child, sleeping=asked), poll_interval=POLL),
        )  # fmt: skip
        self.child.claimer.start()


def main(dsn: str, count: int) -> None:
    """Start the nodes and stay until killed."""
    nodes = [Node(dsn, number) for number in range(count)]
    while True:
        time.sleep(LOOK)
        for node in nodes:
            node.in_flight.check_idle()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
