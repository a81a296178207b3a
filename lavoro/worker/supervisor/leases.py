"""The leases of children: requests and gives them, and ends children whose leases may expire."""

from __future__ import annotations

import logging
import math
import socket
import time
import uuid
from collections.abc import Sequence
from functools import partial

import lavoro
from lavoro.store import events, workers
from lavoro.store.database import Database
from lavoro.store.notifications import Ended
from lavoro.store.workers import Cancellation, Ending, Registration, Rescue
from lavoro.worker.config import WorkerConfig
from lavoro.worker.pipe import Message
from lavoro.worker.supervisor.children import Children
from lavoro.worker.supervisor.duty import Hooks
from lavoro.worker.supervisor.handlers_due import HandlersDue
from lavoro.worker.supervisor.loop import Loop
from lavoro.worker.supervisor.node_hooks import NodeStart
from lavoro.worker.supervisor.process import ChildProcess
from lavoro.worker.supervisor.quiet import Quiet
from lavoro.worker.supervisor.upkeep import Terms, Upkeep
from lavoro.worker.supervisor.watch import Watch

logger = logging.getLogger("lavoro.worker")

OPERATOR = "operator"
"""The reason to rest that other processes see."""
MARGIN = 0.2
"""The part of a lease that is left when the supervisor kills a child: it is gone before others take its tasks."""


class Leases:
    """Gives each child a lease, by a worker id, and watches the child while it has the lease.

    ``upkeep`` does the database's part in its thread, and posts the results to the main loop.
    """

    def __init__(self, database: Database, config: WorkerConfig, *, loop: Loop, children: Children, node: str) -> None:
        self._loop, self._children, self._node, self._config = loop, children, node, config
        self._listens = database.listens
        self._watches: dict[ChildProcess, Watch] = {}
        self.quiet = Quiet(children)
        self.handlers = HandlersDue(children, told=self.quiet.renew)
        self.queues = config.queues
        """The queues that the last child was asked to serve."""
        self.given: list[int] = []
        """The worker ids of all children that have had a lease."""
        self._node_start = NodeStart(needed=config.starts_node)
        hooks = Hooks(
            lost=lambda worker_ids: loop.post(lambda: self._lose(worker_ids)),
            cancel=lambda cancels: loop.post(lambda: self._pass_cancels_on(cancels)),
            turned=lambda: loop.turned,
            rescued=lambda: loop.post(self.handlers.call),
        )
        self.upkeep = Upkeep(database, hooks, Terms(node, config.lease, config.max_crashes, config.retention))

    def start(self) -> None:
        """Begin to renew, and request a lease for each loaded child."""
        self._loop.turned = time.monotonic()  # a new database or a purge may have taken long; the loop does not hang
        self.upkeep.start()
        for child in self._children.present:
            if child.life.loaded and child.ending is None:
                self.ask(child, self._config)

    def stop(self) -> None:
        """Rescue the tasks of ended children, then renew no longer."""
        self.upkeep.stop(5)

    def ask(self, child: ChildProcess, config: WorkerConfig) -> None:
        """Have a child registered; it gets its lease as soon as the database allows, and the node has started."""
        if not self._node_start.admits(child, config):
            return
        self.queues = config.queues
        registration = Registration(
            self._node, child.number, socket.gethostname(), child.pid, child.pool, config.slots, list(config.queues),
            lavoro.__version__, self._config.lease, config.tasks, config.runs_schedules, config.task_events,
        )  # fmt: skip
        self.upkeep.register(
            registration, lambda worker_id: self._loop.post(lambda: self._give(child, worker_id, registration))
        )

    def _give(self, child: ChildProcess, worker_id: int, registration: Registration) -> None:
        if child not in self._children.present or child.ending is not None:
            self.upkeep.rescue(Rescue(worker_id, Ending.stopped("it had ended before it could begin")))
            return
        self.given.append(worker_id)
        scoreboard = child.lease(
            worker_id, trusted_until=self._trusted_by_children(time.monotonic()), slots=registration.slots,
            pool=registration.pool, queues=registration.queues, hostname=self._node, rest=self.quiet.order,
            starts_node=self._node_start.runs_in(child),
        )  # fmt: skip
        self._watches[child] = Watch(
            child,
            scoreboard,
            lease=self._config.lease,
            blocked_after=self._config.blocked_warning,
            blocked_timeout=self._config.blocked_timeout,
        )
        self._tell_whether_idle()

    def node_started(self) -> None:
        """Take in that a child has run the start-up functions of the node."""
        for loaded in self._node_start.over():
            self.ask(*loaded)

    def end(self, child: ChildProcess, rescue: Rescue | None) -> None:
        """Have the tasks of a child that is gone rescued; None: it had no lease."""
        if rescue is not None:
            self.upkeep.rescue(rescue)
        watch = self._watches.pop(child, None)
        if watch is not None:
            watch.close()
            self._tell_whether_idle()
        for loaded in self._node_start.gone(child):
            self.ask(*loaded)

    def idle(self, child: ChildProcess, *, idle: bool) -> None:
        """Take in that a child is idle, or no longer."""
        child.idle = idle
        self._tell_whether_idle()

    def _tell_whether_idle(self) -> None:
        """Tell the upkeep; without notifications of other nodes' leases, the node never counts as idle."""
        self.upkeep.idle(self._listens and all(child.idle for child in self._watches))

    def resized(self, child: ChildProcess, slots: int) -> None:
        """Take in that a child has so many slots now, and have others see it."""
        if child.worker_id is not None:
            self.upkeep.ask(partial(workers.resize, worker_id=child.worker_id, slots=slots))

    # Quiet

    def rest(self, *, quiet: bool) -> bool:
        """Have the children rest, or claim again, and others see it; return whether that is a change."""
        if quiet == self.quiet.asked_by(OPERATOR):
            return False
        (self.quiet.begin if quiet else self.quiet.end)(OPERATOR)
        if not quiet:
            self._mark([child.worker_id for child in self._watches if child.worker_id is not None], quiet=False)
        return True

    def rests(self, child: ChildProcess, message: Message) -> None:
        """Take in that a child claims no more."""
        current = self.quiet.told(child, message)
        if current and self.quiet.asked_by(OPERATOR) and child.worker_id is not None:
            self._mark([child.worker_id], quiet=True)

    def _mark(self, worker_ids: Sequence[int], *, quiet: bool) -> None:
        self.upkeep.ask(partial(workers.mark_quiet, worker_ids=worker_ids, quiet=quiet))

    def tell_events(self, *, on: bool) -> None:
        """Have monitors be told of the tasks of this node, or no longer."""
        self.upkeep.ask(partial(events.mark, node=self._node, on=on))

    # Results of the upkeep

    def _lose(self, worker_ids: set[int]) -> None:
        """Kill children whose tasks other nodes have taken."""
        for child in self._watches:
            if child.worker_id in worker_ids and child.ending is None:
                logger.error("process %d has lost its lease to another node; ending it", child.pid)
                child.kill(Ending.fenced("its lease was lost to another node"))

    def _pass_cancels_on(self, cancels: Sequence[Cancellation]) -> None:
        for child, watch in self._watches.items():
            watch.cancel([each for each in cancels if each.worker_id == child.worker_id])

    def interrupt(self, ended: Ended) -> None:
        """Interrupt a task that was ended from outside, if a child of this node runs it."""
        for child, watch in self._watches.items():
            if child.worker_id == ended.worker_id:
                watch.interrupt(uuid.UUID(ended.id))

    def alive(self, now: float) -> bool:
        """Whether the upkeep thread makes progress. An outage counts as progress; a hung thread needs a restart."""
        return now - self.upkeep.due < self._config.lease

    # Checks

    def check(self, now: float) -> float:
        """Check every child, and kill those that may no longer run; return when a hard limit passes next."""
        if now > self.upkeep.trusted_until - MARGIN * self._config.lease:
            self._fence()
        trusted_until = self._trusted_by_children(now)
        for watch in self._watches.values():
            watch.check(trusted_until)
        return min((watch.deadline for watch in self._watches.values()), default=math.inf)

    def _trusted_by_children(self, now: float) -> float:
        """Return until when children may live without the supervisor: for a usual lease at most.

        A long lease may be shortened after this process was killed or stopped.
        """
        return min(now + self._config.lease, self.upkeep.trusted_until)

    def _fence(self) -> None:
        """Kill the children: their leases could not be renewed, and other nodes may soon take their tasks."""
        for child in self._watches:
            if child.ending is None:
                logger.error("the lease of process %d could not be renewed in time; ending it", child.pid)
                child.kill(Ending.fenced("its lease could not be renewed"))

    def log_stacks(self) -> None:
        """Log the stacks of all children, as SIGUSR1 asks for."""
        for watch in self._watches.values():
            watch.log_stacks()
