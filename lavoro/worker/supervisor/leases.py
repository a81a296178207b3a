"""Leases of children: asked for, given, watched over while they last, and fenced off before they run out."""

from __future__ import annotations

import logging
import math
import socket
import time
from collections.abc import Sequence

import lavoro
from lavoro.store.database import Database
from lavoro.store.workers import Cancellation, Ending, Registration, Rescue
from lavoro.worker.config import WorkerConfig
from lavoro.worker.supervisor.children import Children
from lavoro.worker.supervisor.duty import Hooks
from lavoro.worker.supervisor.handlers_due import HandlersDue
from lavoro.worker.supervisor.loop import Loop
from lavoro.worker.supervisor.process import ChildProcess
from lavoro.worker.supervisor.upkeep import Terms, Upkeep
from lavoro.worker.supervisor.watch import Watch

logger = logging.getLogger("lavoro.worker")

MARGIN = 0.2
"""The part of a lease before whose end we fence ourselves off: what we run then must be dead when others take over."""


class Leases:
    """What lets children claim: each gets a worker id, and is watched as long as it has it.

    The database's side of it is ``upkeep``, whose thread posts what it finds out.
    """

    def __init__(self, database: Database, config: WorkerConfig, *, loop: Loop, children: Children, node: str) -> None:
        self._loop, self._children, self._node, self._config = loop, children, node, config
        self._listens = database.listens
        self._watches: dict[ChildProcess, Watch] = {}
        self.handlers = HandlersDue(children)
        hooks = Hooks(
            lost=lambda worker_ids: loop.post(lambda: self._lose(worker_ids)),
            cancel=lambda cancels: loop.post(lambda: self._pass_cancels_on(cancels)),
            turned=lambda: loop.turned,
            rescued=lambda: loop.post(self.handlers.call),
        )
        self.upkeep = Upkeep(database, hooks, Terms(node, config.lease, config.max_crashes, config.retention))

    def start(self) -> None:
        """Begin to renew, and ask for leases of those who wait for one."""
        self._loop.turned = time.monotonic()  # to make a database or to purge may have taken long; nothing hangs
        self.upkeep.start()
        for child in self._children.present:
            if child.life.loaded and child.ending is None:
                self.ask(child, self._config)

    def stop(self) -> None:
        """Rescue what is left behind, and renew no longer."""
        self.upkeep.stop(5)

    def ask(self, child: ChildProcess, config: WorkerConfig) -> None:
        """Have a child registered; it gets its lease as soon as the database allows."""
        registration = Registration(
            self._node, child.number, socket.gethostname(), child.pid, child.pool, config.slots, list(config.queues),
            lavoro.__version__, self._config.lease,
        )  # fmt: skip
        self.upkeep.register(
            registration, lambda worker_id: self._loop.post(lambda: self._give(child, worker_id, registration))
        )

    def _give(self, child: ChildProcess, worker_id: int, registration: Registration) -> None:
        if child not in self._children.present or child.ending is not None:
            self.upkeep.rescue(Rescue(worker_id, Ending.stopped("it had ended before it could begin")))
            return
        scoreboard = child.lease(
            worker_id, trusted_until=self._trusted_by_children(time.monotonic()), slots=registration.slots,
            pool=registration.pool, queues=registration.queues, hostname=self._node,
        )  # fmt: skip
        self._watches[child] = Watch(
            child,
            scoreboard,
            lease=self._config.lease,
            blocked_after=self._config.blocked_warning,
            blocked_timeout=self._config.blocked_timeout,
        )
        self._tell_whether_idle()

    def end(self, child: ChildProcess, rescue: Rescue | None) -> None:
        """Have the tasks of a child that is gone rescued; None: it had no lease."""
        if rescue is not None:
            self.upkeep.rescue(rescue)
        watch = self._watches.pop(child, None)
        if watch is not None:
            watch.close()
            self._tell_whether_idle()

    def idle(self, child: ChildProcess, *, idle: bool) -> None:
        """A child has held nothing for a while, or holds something again."""
        child.idle = idle
        self._tell_whether_idle()

    def _tell_whether_idle(self) -> None:
        """While nobody can tell us that the lease of some other node begins, ours are renewed as always."""
        self.upkeep.idle(self._listens and all(child.idle for child in self._watches))

    # What the upkeep finds out

    def _lose(self, worker_ids: set[int]) -> None:
        """Others have taken these children's tasks: end them before they do any more."""
        for child in self._watches:
            if child.worker_id in worker_ids and child.ending is None:
                logger.error("process %d has lost its lease to another node; ending it", child.pid)
                child.kill(Ending.fenced("its lease was lost to another node"))

    def _pass_cancels_on(self, cancels: Sequence[Cancellation]) -> None:
        for child, watch in self._watches.items():
            watch.cancel([each for each in cancels if each.worker_id == child.worker_id])

    def alive(self, now: float) -> bool:
        """Whether the upkeep goes on, be it that the database is away: only a new process would heal what hangs."""
        return now - self.upkeep.due < self._config.lease

    # While they last

    def check(self, now: float) -> float:
        """Check every child, and end those that may no longer run; return when a hard limit passes next."""
        if now > self.upkeep.trusted_until - MARGIN * self._config.lease:
            self._fence()
        trusted_until = self._trusted_by_children(now)
        for watch in self._watches.values():
            watch.check(trusted_until)
        return min((watch.deadline for watch in self._watches.values()), default=math.inf)

    def _trusted_by_children(self, now: float) -> float:
        """Say until when children may live though they hear nothing more of us: no longer than a usual lease.

        So it does not matter to them that a long one was shortened after we were killed, or stopped.
        """
        return min(now + self._config.lease, self.upkeep.trusted_until)

    def _fence(self) -> None:
        """End what may soon be taken over by others, for we have not been able to renew its lease."""
        for child in self._watches:
            if child.ending is None:
                logger.error("the lease of process %d could not be renewed in time; ending it", child.pid)
                child.kill(Ending.fenced("its lease could not be renewed"))

    def log_stacks(self) -> None:
        """Log the stacks of all children, for a person who asked."""
        for watch in self._watches.values():
            watch.log_stacks()
