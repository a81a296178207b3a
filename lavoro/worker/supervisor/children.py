"""The children of a worker: how they are started, replaced, told to leave and reaped."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable

from lavoro.exceptions import ImproperlyConfigured
from lavoro.store.workers import Ending, Rescue
from lavoro.text.plural import counted
from lavoro.worker.config import Plan, Wishes
from lavoro.worker.pipe import Message
from lavoro.worker.supervisor.lifecycle import State
from lavoro.worker.supervisor.loop import Loop
from lavoro.worker.supervisor.process import ChildProcess

logger = logging.getLogger("lavoro.worker")

LEAVING = 5.0
"""Seconds a child gets beyond the grace, to store its last outcomes; one whose loop is blocked gets no more."""
REPLACEMENT_DELAY = 5.0
"""Seconds that the successor of a worn child waits for its end, so that the two together run no more than one may."""
HANG_UP = 5.0
"""Seconds for which a child may live without its pipe."""
FAILED_STARTS = 5
"""Children in a row that may end before they are ready, until the worker gives up."""
SHORT_LIFE = 10.0
"""Seconds; those who crash sooner are replaced the later, the more there are of them."""


class StartFailed(ImproperlyConfigured):
    """The application could not be loaded; ``details`` is the traceback of the child."""

    def __init__(self, message: str, details: str | None = None) -> None:
        super().__init__(message)
        self.details = details


class Children:
    """All children that have not been reaped, and those still to be started; the main thread's alone.

    ``heard`` gets each message of a child; ``on_exit`` gets a child that is gone, and the rescue of its tasks.
    """

    def __init__(
        self,
        wishes: Wishes,
        loop: Loop,
        *,
        heard: Callable[[ChildProcess, Message], object],
        on_exit: Callable[[ChildProcess, Rescue | None], object],
    ) -> None:
        self._wishes, self._loop, self._heard, self._on_exit = wishes, loop, heard, on_exit
        self.plan: Plan | None = None
        """What the application's settings say, once a child has told."""
        self.present: list[ChildProcess] = []
        self.ready: tuple[ChildProcess, ...] = ()
        """Those that work; replaced as a whole, so that the listener's thread can read it."""
        self._starts: list[tuple[float, int]] = []
        """When to start the next ones, and their numbers."""
        self._to_replace: deque[ChildProcess] = deque()
        self._failed_starts = self._short_lives = 0
        self._dying_out = False
        self.begun = False
        """Whether the worker has begun to work: before, a child that cannot load the application ends it."""

    @property
    def remain(self) -> bool:
        """Whether there are any, or will be."""
        return bool(self.present or self._starts)

    @property
    def hopeless(self) -> bool:
        """Whether so many have failed to begin that another would as well."""
        return self._failed_starts >= FAILED_STARTS and not self.ready

    @property
    def next_start(self) -> float:
        """When the next one is to be started (monotonic)."""
        return min((moment for moment, _ in self._starts), default=math.inf)

    # Starting

    def start(self, number: int) -> None:
        """Start one; it says hello when it has loaded the application."""
        pool = self.plan.pool if self.plan is not None else self._wishes.pool or "gevent"
        child = ChildProcess(self._wishes, pool=pool, number=number)
        self.present.append(child)
        self._loop.watch(child.pipe, lambda: self._take_in(child))

    def start_due(self) -> None:
        """Start those whose time has come."""
        now = time.monotonic()
        for start in [start for start in self._starts if start[0] <= now]:
            self._starts.remove(start)
            self.start(start[1])

    def welcome(self, child: ChildProcess) -> None:
        """Count one among those that work."""
        child.life.reach(State.READY)
        self._failed_starts = 0
        self._count_ready()

    def _take_in(self, child: ChildProcess) -> None:
        """Handle the messages of a child, or the end of its pipe."""
        messages = child.pipe.receive()
        if messages is None:
            self._loop.forget(child.pipe)
            child.life.hung_up_at = time.monotonic()
        for message in messages or ():
            self._heard(child, message)

    def _count_ready(self) -> None:
        self.ready = tuple(child for child in self.present if child.life.ready)

    # Replacing

    def resize(self, count: int) -> None:
        """Have as many as there are to be from now on."""
        numbers = {child.number for child in self.present} | {number for _, number in self._starts}
        if self._dying_out or numbers == set(range(count)):
            return
        logger.info("this worker has %s from now on", counted(count, "process", "processes"))
        now = time.monotonic()
        self._starts = [start for start in self._starts if start[1] < count]
        self._starts += [(now, number) for number in range(count) if number not in numbers]
        for child in self.present:
            if child.number >= count and not child.life.leaving:
                assert self.plan is not None
                child.stop(self.plan.grace, how="warm", sig=None, node=False)

    def reload(self) -> None:
        """Replace all, one by one."""
        self._to_replace = deque(self.present)

    def replace_worn(self) -> None:
        """Replace those of a reload one by one, and start successors of who takes its time to leave."""
        if self._dying_out:
            return
        now = time.monotonic()
        for child in self.present:
            if not child.life.leaving or child.life.replaced or not self._wanted(child):
                continue
            if now > child.life.since(State.LEAVING) + REPLACEMENT_DELAY:
                child.life.replaced = True
                self._starts.append((now, child.number))
        while self._to_replace and self._to_replace[0] not in self.ready:
            self._to_replace.popleft()
        if self._to_replace and self._all_settled:
            assert self.plan is not None
            self._to_replace.popleft().stop(self.plan.grace, how="warm", sig="SIGHUP", node=False)

    @property
    def _all_settled(self) -> bool:
        unsettled = self._starts or any(child.life.state is not State.READY for child in self.present)
        return not unsettled

    # Leaving

    def die_out(self) -> None:
        """Have no successors from now on."""
        self._dying_out = True
        self._starts.clear()

    def look_after(self, now: float) -> None:
        """Send what they have not taken yet, and end those that should be gone."""
        for child in self.present:
            child.pipe.flush()
            if now > child.life.leave_by + LEAVING:
                child.kill(Ending.stopped("it did not leave in time"))
            elif now > child.life.hung_up_at + HANG_UP:
                child.kill(Ending.crashed("it no longer spoke with its supervisor", child.started_tasks))

    def reap(self) -> None:
        """Handle dead children: read their final messages, order the rescue of their tasks, plan their successors.

        It never waits: a process that a task has forked may hold the pipe of a dead child.
        """
        for child in [child for child in self.present if child.has_ended]:
            self._reap(child)

    def end(self) -> None:
        """End and reap all children that are left."""
        self.die_out()
        for child in self.present:
            child.kill(Ending.stopped("the supervisor ended"))
        for child in list(self.present):
            child.wait(5)
            self._reap(child)

    def _reap(self, child: ChildProcess) -> None:
        for message in child.reap():
            self._heard(child, message)
        self.present.remove(child)
        self._count_ready()
        self._on_exit(child, child.rescue())  # before the log, which may block: its lease must not be renewed
        if child.crashed and self.plan is not None:
            logger.error("%s", child.exit_reason)
        if child.life.hung_up_at == math.inf:
            self._loop.forget(child.pipe)
        child.close()
        if self._wanted(child) and not child.life.replaced:
            self._plan_successor(child)

    def _wanted(self, child: ChildProcess) -> bool:
        """Whether somebody of its number is to be there."""
        return not self._dying_out and (self.plan is None or child.number < self.plan.processes)

    def _plan_successor(self, child: ChildProcess) -> None:
        if child.crashed and not child.life.loaded and not self.begun:
            raise StartFailed(f"{child.exit_reason} before it had loaded the application")
        self._starts.append((time.monotonic() + self._pause_after(child), child.number))

    def _pause_after(self, child: ChildProcess) -> float:
        """Return how long to wait after an end: the longer, the more children have failed to begin.

        Who was ready has crashed over a task, and the budget of that task ends the matter: then the wait stays short,
        for the others' sake.
        """
        if not child.crashed:
            return 0.0
        if child.life.ready:
            self._short_lives = (
                self._short_lives + 1 if time.monotonic() - child.life.since(State.STARTING) < SHORT_LIFE else 0
            )
            return float(min(1.0, 0.05 * 2 ** min(self._short_lives, 16)))
        self._failed_starts += 1
        return float(min(30.0, 0.1 * 2 ** min(self._failed_starts, 16)))
