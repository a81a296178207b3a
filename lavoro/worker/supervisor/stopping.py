"""Stops a worker: warm, cold, or by force when the time is over."""

from __future__ import annotations

import math
import time

from lavoro.store.workers import Ending
from lavoro.text.plural import counted
from lavoro.worker.supervisor.children import LEAVING, Children
from lavoro.worker.supervisor.node_hooks import NodeEnd

COLD = 2.0
"""Seconds a child gets to store its last outcomes when it is to stop now."""
ECHO = 0.5
"""Seconds within which another signal belongs to the same order: terminal and service manager may both send one."""


class Stopping:
    """The order to stop; a later order may only shorten the time."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._by: float | None = None
        self._ordered = -math.inf
        self._cold = False
        self.node_end = NodeEnd()

    @property
    def begun(self) -> bool:
        """Whether the worker was told to stop."""
        return self._by is not None

    @property
    def echoes(self) -> bool:
        """Whether a signal at this moment still belongs to the last order."""
        return time.monotonic() < self._ordered + ECHO

    def order(self, why: str, *, cold: bool, grace: float, together: bool) -> str:
        """Order all children to stop; return the line for the log. A cold stop after a cold one kills them.

        ``together``: one child ends the node after all others.
        """
        now, how = time.monotonic(), "cold" if cold else "warm"
        grace = 0.0 if cold else grace
        words = self._words(why, cold=cold, grace=grace)
        self._ordered = now
        together = self.node_end.expected = self.node_end.expected or together
        self._children.stop_replacing()
        self._by = now if self._cold else now + (COLD if cold else grace + LEAVING)
        self._cold = cold
        for child in self._children.present:
            if child.worker_id is None:
                child.kill(Ending.stopped("the worker stopped before it could begin"))
            else:
                child.stop(grace, how=how, sig=why, node=True, together=together)
        return words

    @property
    def running(self) -> str:
        """How many tasks run, in words."""
        boards = [child.scoreboard for child in self._children.present if child.scoreboard is not None]
        return counted(sum(len(board.entries()) for board in boards), "task runs", "tasks run")

    def _words(self, why: str, *, cold: bool, grace: float) -> str:
        tasks = self.running
        if cold:
            return f"{why}: stopping at once, {tasks}"
        if why == "SIGINT":
            return f"{why}: stopping, {tasks}; press Ctrl-C again to stop at once, or wait for up to {grace:g} s"
        return f"{why}: stopping, {tasks}, for up to {grace:g} s"

    def enforce(self, now: float) -> None:
        """Kill the children that are left when the time is over, except for one that waits for the others."""
        if self._by is not None and now > self._by:
            for child in self._children.present:
                if not self.node_end.keeps(child):
                    child.kill(Ending.stopped("it did not stop in time"))
