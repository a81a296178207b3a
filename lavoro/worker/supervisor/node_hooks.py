"""Has one child run the functions of the node: the first one at the start, the last one at the end."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator

from lavoro.worker.config import WorkerConfig
from lavoro.worker.supervisor.process import ChildProcess

Loaded = tuple[ChildProcess, WorkerConfig]
"""A child that has loaded the application, and the configuration that it sent."""


class NodeStart:
    """Keeps the other children from their leases until one has run the start-up functions of the node.

    So no task of the node is claimed before. If that child dies, another takes its place.
    """

    def __init__(self, *, needed: bool) -> None:
        self._needed = needed
        self._starter: ChildProcess | None = None
        self._waiting: deque[Loaded] = deque()

    def admits(self, child: ChildProcess, config: WorkerConfig) -> bool:
        """Whether a child may have its lease now; otherwise it waits."""
        if self._needed and self._starter is None:
            self._starter = child
        if not self._needed or self._starter is child:
            return True
        self._waiting.append((child, config))
        return False

    def runs_in(self, child: ChildProcess) -> bool:
        """Whether this child has to run the functions."""
        return self._needed and self._starter is child

    def over(self) -> Iterator[Loaded]:
        """Take in that the functions have run; yield the children that have waited."""
        self._needed = False
        yield from self._all_waiting()

    def gone(self, child: ChildProcess) -> Iterator[Loaded]:
        """Take in the end of a child; yield those that have to ask again, because it was to run the functions."""
        self._waiting = deque(each for each in self._waiting if each[0] is not child)
        if self._starter is child:
            self._starter = None
            yield from self._all_waiting()

    def _all_waiting(self) -> Iterator[Loaded]:
        waiting, self._waiting = self._waiting, deque()
        yield from waiting


class NodeEnd:
    """Keeps the first child whose tasks have ended, until all others are gone; then it ends the node.

    The others leave as soon as their own tasks have ended. If the one that waits dies, the next one takes its place.
    """

    def __init__(self) -> None:
        self._keeper: ChildProcess | None = None
        self.expected = False
        """Whether the children were told to wait."""
        self.over = False
        """Whether a child was told to run the functions of the end."""

    def drained(self, child: ChildProcess) -> None:
        """Take in that the tasks of a child have ended."""
        if self._keeper is None:
            self._keeper = child
            child.life.leave(by=math.inf)  # the others have to be gone by their own times
        else:
            child.pipe.send("let_go", last=False)

    def keeps(self, child: ChildProcess) -> bool:
        """Whether a child waits for the others, and may not be killed for that."""
        return child is self._keeper

    def settle(self, present: list[ChildProcess]) -> None:
        """Let the child that waits end the node, once it is alone."""
        if self._keeper is not None and self._keeper not in present:
            self._keeper = None
        if self._keeper is not None and not self.over and len(present) == 1:
            self.over = True
            self._keeper.life.leave(by=time.monotonic())
            self._keeper.pipe.send("let_go", last=True)
