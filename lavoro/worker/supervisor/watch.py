"""Watches a child: hard limits, blocked loops, and tasks that still run after they were terminated."""

from __future__ import annotations

import json
import logging
import math
import time
import uuid
from collections.abc import Sequence
from typing import Any

from lavoro.store.workers import Cancellation, Ending
from lavoro.text.plural import counted
from lavoro.text.printable import Lines
from lavoro.worker.scoreboard import FENCE_MARGIN, Scoreboard
from lavoro.worker.supervisor.fencing_process import FencingProcess
from lavoro.worker.supervisor.process import ChildProcess
from lavoro.worker.supervisor.stack_dumps import calls_of_tasks, slots

logger = logging.getLogger("lavoro.worker")

STACK_TIMEOUT = 1.0
"""Seconds that a child gets to write its stack: one that is stopped, or waits for its disk, never does."""
CANCEL_TIMEOUT = 1.0
"""Seconds a task gets to end after it was cancelled, where its process can be ended without harm to others."""


class Watch:
    """Watches one child that has a lease: hard limits, a blocked loop, terminated tasks."""

    def __init__(
        self,
        child: ChildProcess,
        scoreboard: Scoreboard,
        *,
        lease: float,
        blocked_after: float,
        blocked_timeout: float | None,
    ) -> None:
        self._child, self._scoreboard, self._blocked_after = child, scoreboard, blocked_after
        self._margin = FENCE_MARGIN * lease
        self._fencing_process: FencingProcess | None = None
        self._blocked_timeout = math.inf if blocked_timeout is None else blocked_timeout
        self._blocked_since: float | None = None
        self._last_stack_by: float | None = None
        self._stack_by = -math.inf
        self._asked_by: float | None = None
        self._cancels: dict[uuid.UUID, float] = {}
        """When each task has to have ended."""
        self._told: set[Cancellation] = set()

    def check(self, trusted_until: float) -> None:
        """Check the child; called a few times a second."""
        self._scoreboard.trust(trusted_until)
        if self._fencing_process is not None:
            self._fencing_process.trust(trusted_until - self._margin)
        if self._child.ending is None and not self._child.has_ended:
            self._enforce_limits()
            self._enforce_cancels()
            if self._asked_by is not None:
                self._report_stacks()
            elif self._child.life.ready:
                self._watch_loop()

    @property
    def deadline(self) -> float:
        """When the next hard limit passes (monotonic)."""
        if self._child.ending is not None:
            return math.inf
        return min((entry.deadline for entry in self._scoreboard.entries()), default=math.inf)

    def close(self) -> None:
        """End the fencing process, once the child is gone."""
        if self._fencing_process is not None:
            self._fencing_process.dismiss()
            self._fencing_process = None

    # Limits

    def _enforce_limits(self) -> None:
        entry = self._scoreboard.overdue()
        if entry is not None:
            logger.error("task %s ran past its hard time limit; ending its process %d", entry.id, self._child.pid)
            self._child.kill(Ending.timed_out(entry.id))

    # Cancellation

    def cancel(self, cancels: Sequence[Cancellation]) -> None:
        """Send each cancellation once; ``cancels`` are all of the child."""
        for cancel in cancels:
            if cancel not in self._told:
                options: dict[str, Any] = json.loads(cancel.how)
                self._order(cancel.id, options)
        self._told = set(cancels)

    def interrupt(self, id: uuid.UUID) -> None:
        """Interrupt a task that was ended from outside, as one that is terminated."""
        self._order(id, {"terminate": True})

    def _order(self, id: uuid.UUID, options: dict[str, Any]) -> None:
        self._child.pipe.send("cancel", id=str(id), **options)
        if options.get("terminate"):
            self._cancels[id] = time.monotonic() + CANCEL_TIMEOUT

    def _enforce_cancels(self) -> None:
        """End the process of a terminated task that still runs, if it is alone there."""
        if not self._cancels:
            return
        now, running = time.monotonic(), {entry.id for entry in self._scoreboard.entries()}
        late = [id for id, moment in self._cancels.items() if moment < now]
        for id in late:
            del self._cancels[id]
        if self._scoreboard.slots == 1 and len(running) == 1 and (left := running.intersection(late)):
            logger.warning(
                "task %s still runs after it was terminated; ending its process %d", left.pop(), self._child.pid
            )
            self._child.kill(Ending.fenced("the task was terminated"))

    # The loop

    def log_stacks(self) -> None:
        """Log the stacks of the child, as SIGUSR1 asks for."""
        self._asked_by = time.monotonic() + STACK_TIMEOUT
        self._child.request_stacks()

    def _report_stacks(self) -> None:
        stacks = self._child.stack_dumps.read()
        if stacks or time.monotonic() > (self._asked_by or 0.0):
            self._asked_by = None
            logger.warning("process %d stack dump:\n%s", self._child.pid, Lines(stacks or "(no stack available)"))

    def _watch_loop(self) -> None:
        now, ticked = time.monotonic(), self._scoreboard.ticked
        if self._blocked_since is None:
            if now - ticked > self._blocked_after:
                self._blocked_since, self._stack_by = ticked, now + STACK_TIMEOUT
                self._start_fencing_process()
                self._child.request_stacks()
        elif ticked > self._blocked_since:
            self._report_turning(ticked)
        elif self._stack_by > -math.inf:
            self._report_blocked(now)
        elif now - self._blocked_since > self._blocked_timeout:
            self._end_blocked(now)

    def _start_fencing_process(self) -> None:
        try:
            self._fencing_process = self._child.fence(self._scoreboard.trusted_until - self._margin)
        except OSError as error:
            logger.warning("process %d has no fencing process while it is blocked: %s", self._child.pid, error)

    def _report_blocked(self, now: float) -> None:
        assert self._blocked_since is not None
        stacks = calls_of_tasks(self._child.stack_dumps.read())
        if stacks or now > self._stack_by:
            self._stack_by = -math.inf
            logger.error(
                "process %d has been blocked for %.1f s: nothing in it (%s) goes on until this ends\n%s",
                self._child.pid, now - self._blocked_since, counted(len(self._scoreboard.entries()), "running task"),
                Lines(stacks or "(no stack available: process stopped or machine overloaded)"),
            )  # fmt: skip

    def _end_blocked(self, now: float) -> None:
        """End it, after a last stack dump: only the task that blocks it counts a crash."""
        if self._last_stack_by is None:
            self._last_stack_by = now + STACK_TIMEOUT
            self._child.request_stacks()
        elif (stacks := self._child.stack_dumps.read()) or now > self._last_stack_by:
            how_long = f"longer than {self._blocked_timeout:g} s (lavoro_blocked_timeout)"
            logger.error(
                "process %d has been blocked for %s; ending it\n%s",
                self._child.pid, how_long, Lines(calls_of_tasks(stacks) or "(no stack available)"),
            )  # fmt: skip
            self._child.kill(Ending.crashed(f"its process was blocked for {how_long}", self._blocking_tasks(stacks)))

    def _blocking_tasks(self, stacks: str) -> tuple[uuid.UUID, ...]:
        """Return the tasks whose slots the stacks name: all of too deep stacks, none of a stopped process."""
        entries, shown = self._scoreboard.entries() if stacks else [], slots(stacks)
        return tuple(entry.id for entry in entries if entry.slot in shown or not shown)

    def _report_turning(self, ticked: float) -> None:
        assert self._blocked_since is not None
        if self._stack_by == -math.inf:  # the block was not reported, so its end is not
            logger.warning("process %d recovered after %.1f s", self._child.pid, ticked - self._blocked_since)
        self._blocked_since, self._last_stack_by, self._stack_by = None, None, -math.inf
        self.close()
