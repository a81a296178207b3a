"""The children of a worker: starts, replaces, stops and reaps them."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from lavoro.exceptions import ImproperlyConfigured
from lavoro.store.workers import Ending, Rescue
from lavoro.text.plural import counted
from lavoro.worker.config import WorkerConfig, WorkerOptions
from lavoro.worker.pipe import Message
from lavoro.worker.supervisor.lifecycle import State
from lavoro.worker.supervisor.loop import Loop
from lavoro.worker.supervisor.process import ChildProcess
from lavoro.worker.supervisor.starts import Starts

logger = logging.getLogger("lavoro.worker")

LEAVING = 5.0
"""Seconds a child gets beyond the grace, to store its last outcomes; one whose loop is blocked gets no more."""
REPLACEMENT_DELAY = 5.0
"""Seconds that the successor of a recycled child waits for its end, so that both together run no more than one may."""
PIPE_CLOSED = 5.0
"""Seconds for which a child may live without its pipe."""

Handler = Callable[[ChildProcess, Message], object]


class StartFailed(ImproperlyConfigured):
    """The application could not be loaded; ``details`` is the traceback of the child."""

    def __init__(self, message: str, details: str | None = None) -> None:
        super().__init__(message)
        self.details = details


class Shape(NamedTuple):
    """The pool and the number of the children, and the seconds that each gets to stop."""

    pool: str
    processes: int
    grace: float


class Children:
    """All children that have not been reaped, and those still to be started; the main thread's alone.

    ``handlers`` has a function for each kind of message; ``on_exit`` gets a child that is gone, and the rescue of its
    tasks. ``spawn`` starts a child.
    """

    def __init__(
        self,
        options: WorkerOptions,
        loop: Loop,
        spawn: Callable[[WorkerOptions, str, int], ChildProcess] = ChildProcess,
    ) -> None:
        self._options, self._loop, self._spawn = options, loop, spawn
        self.handlers: Mapping[str, Handler] = {}
        self.on_exit: Callable[[ChildProcess, Rescue | None], object] = lambda child, rescue: None
        self._shape = Shape(options.pool or "gevent", 1, 0.0)
        self.present: list[ChildProcess] = []
        self.ready: tuple[ChildProcess, ...] = ()
        """Those that run tasks; replaced as a whole, so that the listener's thread can read it."""
        self._starts = Starts()
        self._to_replace: deque[ChildProcess] = deque()
        self._no_successors = False
        self.begun = False
        """Whether the worker has begun to work: before, a child that cannot load the application ends it."""

    @property
    def remain(self) -> bool:
        """Whether there are children, or more to start."""
        return bool(self.present or self._starts)

    @property
    def starts_fail(self) -> bool:
        """Whether so many starts have failed in a row that the worker gives up."""
        return self._starts.fail and not self.ready

    @property
    def next_start(self) -> float:
        """When the next child starts (monotonic)."""
        return self._starts.next_at

    # Starting

    def shape(self, config: WorkerConfig) -> None:
        """Take over the settings for all children that start from now on."""
        self._shape = Shape(config.pool, config.processes, config.grace)

    def start(self, number: int) -> None:
        """Start a child; it sends ``hello`` when it has loaded the application."""
        child = self._spawn(self._options, self._shape.pool, number)
        self.present.append(child)
        self._loop.watch(child.pipe, lambda: self._receive(child))

    def start_due(self) -> None:
        """Start the children that are due."""
        for number in self._starts.take_due():
            self.start(number)

    def mark_ready(self, child: ChildProcess) -> None:
        """Count a child among those that run tasks."""
        child.life.reach(State.READY)
        self._starts.succeeded()
        self._count_ready()

    def _receive(self, child: ChildProcess) -> None:
        """Handle the messages of a child, or the end of its pipe."""
        messages = child.pipe.receive()
        if messages is None:
            self._loop.forget(child.pipe)
            child.life.pipe_closed_at = time.monotonic()
        for message in messages or ():
            self._handle(child, message)

    def _handle(self, child: ChildProcess, message: Message) -> None:
        handler = self.handlers.get(message["kind"])
        if handler is None:
            logger.warning("process %d sent a message of an unknown kind: %r", child.pid, message["kind"])
        else:
            handler(child, message)

    def _count_ready(self) -> None:
        self.ready = tuple(child for child in self.present if child.life.ready)

    # Replacing

    def resize(self, *, grace: float | None) -> None:
        """Start or stop children until there are as many as the settings say; ``grace`` as for ``stop``."""
        count = self._shape.processes
        numbers = {child.number for child in self.present} | self._starts.numbers
        if self._no_successors or numbers == set(range(count)):
            return
        logger.info("this worker has %s from now on", counted(count, "process", "processes"))
        self._starts.drop(above=count - 1)
        for number in sorted(set(range(count)) - numbers):
            self._starts.add(number)
        for child in self.present:
            if child.number >= count and not child.life.leaving:
                child.stop(grace, how="warm", sig=None, node=False)

    def reload(self) -> None:
        """Replace all, one by one."""
        self._to_replace = deque(self.present)

    def replace(self) -> None:
        """Replace those of a reload one by one, and start the successors of children that leave slowly."""
        if self._no_successors:
            return
        now = time.monotonic()
        for child in self.present:
            if not child.life.leaving or child.life.replaced or not self._wanted(child):
                continue
            if now > child.life.since(State.LEAVING) + REPLACEMENT_DELAY:
                child.life.replaced = True
                self._starts.add(child.number)
        while self._to_replace and self._to_replace[0] not in self.ready:
            self._to_replace.popleft()
        if self._to_replace and self.settled:
            self._to_replace.popleft().stop(self._shape.grace, how="warm", sig="SIGHUP", node=False)

    @property
    def settled(self) -> bool:
        """Whether each runs tasks, none leaves, and no more are to start."""
        unsettled = self._starts or any(child.life.state is not State.READY for child in self.present)
        return not unsettled

    # Leaving

    def stop_replacing(self) -> None:
        """Start no successors from now on."""
        self._no_successors = True
        self._starts.drop()

    def enforce(self, now: float) -> None:
        """Send messages that did not fit before, and kill children that had to end."""
        for child in self.present:
            child.pipe.flush()
            if now > child.life.leave_by + LEAVING:
                child.kill(Ending.stopped("it did not leave in time"))
            elif now > child.life.pipe_closed_at + PIPE_CLOSED:
                child.kill(Ending.crashed("it had closed its pipe to the supervisor", child.started_tasks))

    def reap(self) -> None:
        """Handle dead children: read their final messages, order the rescue of their tasks, and add their successors.

        It never waits: a process that a task has forked may hold the pipe of a dead child.
        """
        for child in [child for child in self.present if child.has_ended]:
            self._reap(child)

    def end(self) -> None:
        """Kill and reap all children that are left."""
        self.stop_replacing()
        for child in self.present:
            child.kill(Ending.stopped("the supervisor ended"))
        for child in list(self.present):
            child.wait(5)
            self._reap(child)

    def _reap(self, child: ChildProcess) -> None:
        for message in child.reap():
            self._handle(child, message)
        self.present.remove(child)
        self._count_ready()
        self.on_exit(child, child.rescue())  # before the log, which may block: the lease must not be renewed meanwhile
        if child.crashed and (self.begun or child.life.loaded):
            logger.error("%s", child.exit_reason)
        if child.life.pipe_closed_at == math.inf:
            self._loop.forget(child.pipe)
        child.close()
        if self._wanted(child) and not child.life.replaced:
            self._add_successor(child)

    def _wanted(self, child: ChildProcess) -> bool:
        """Whether a child of its number belongs to the worker."""
        return not self._no_successors and child.number < self._shape.processes

    def _add_successor(self, child: ChildProcess) -> None:
        if child.crashed and not child.life.loaded and not self.begun:
            raise StartFailed(f"{child.exit_reason} before it had loaded the application")
        self._starts.add_successor(child)
