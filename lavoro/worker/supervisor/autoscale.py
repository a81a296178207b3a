"""Chooses the number of slots between two bounds by load, as Celery's autoscaler does."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from lavoro.exceptions import ImproperlyConfigured
from lavoro.store import tasks
from lavoro.store.tx import Tx
from lavoro.worker.config import WorkerConfig
from lavoro.worker.supervisor.children import Children
from lavoro.worker.supervisor.leases import Leases
from lavoro.worker.supervisor.loop import Loop

KEEPALIVE = "AUTOSCALE_KEEPALIVE"
"""Celery's environment variable: seconds without need of all slots after which some are taken away."""
AGAIN = 1.0
"""Seconds between two questions whether tasks wait, while all slots are busy."""


class Bounds(NamedTuple):
    """The most and the least slots: processes of a prefork pool, else slots of each process."""

    most: int
    least: int


class Autoscale:
    """Adds slots at once when tasks wait and all slots are busy; takes those away that were not needed for a while.

    The scoreboards tell what is busy. The database is asked only while all slots are, once a second at most.
    """

    def __init__(
        self, children: Children, leases: Leases, loop: Loop, config: Callable[[], WorkerConfig],
        resize: Callable[[int], object],
    ) -> None:  # fmt: skip
        self._children, self._leases, self._loop, self._config, self._resize = children, leases, loop, config, resize
        self.bounds: Bounds | None = None if config().autoscale is None else Bounds(*config().autoscale or ())
        self._keepalive = keepalive()
        self._full_at, self._peak = time.monotonic(), 0
        """When all slots were busy last, or their number has changed; and the most that were busy since."""
        self._ask_at = -math.inf

    def begin(self, bounds: Bounds) -> None:
        """Keep to these bounds from now on."""
        self.bounds = bounds
        self._full_at, self._peak = time.monotonic(), 0
        self._set(min(max(self.size, bounds.least), bounds.most))

    def widen(self, size: int) -> None:
        """Move a bound for a number of slots that an operator asks for."""
        if self.bounds is not None:
            self.bounds = Bounds(max(self.bounds.most, size), min(self.bounds.least, size))

    @property
    def size(self) -> int:
        """The number of slots that is wanted now."""
        config = self._config()
        return config.processes if config.pool == "prefork" else config.slots

    @property
    def busy(self) -> int:
        """The number of slots that tasks need now, as ``size`` counts."""
        boards = [child.scoreboard for child in self._children.ready if child.scoreboard is not None]
        return math.ceil(sum(len(board.entries()) for board in boards) / self._share)

    @property
    def _starting(self) -> bool:
        """Whether processes still start, so that fewer are busy than are needed."""
        working = [child for child in self._children.ready if not child.life.leaving]
        return len(working) < self._config().processes

    @property
    def _share(self) -> int:
        """The number of processes that have so many slots each."""
        config = self._config()
        return 1 if config.pool == "prefork" else config.processes

    @property
    def told(self) -> dict[str, Any]:
        """Return what ``stats()`` tells of it: Celery's keys."""
        assert self.bounds is not None
        most, least = self.bounds
        return {"max": most, "min": least, "current": self.size, "qty": self.busy}

    def check(self, now: float) -> None:
        """See whether there are too few slots, or too many; to be called several times a second."""
        if self.bounds is None or self._leases.quiet.order is not None:
            return
        busy, size = self.busy, self.size
        if busy >= size:
            self._full_at, self._peak = now, 0
            if size < self.bounds.most and now >= self._ask_at:
                self._ask_at = math.inf  # until the answer
                most = (self.bounds.most - size) * self._share
                self._leases.upkeep.ask(partial(self._look, most=most))
            return
        if self._starting:
            self._full_at, self._peak = now, 0
            return
        self._peak = max(self._peak, busy)
        if now - self._full_at >= self._keepalive:
            wanted = max(self.bounds.least, self._peak)
            self._full_at, self._peak = now, 0
            self._set(min(wanted, size))

    def _look(self, tx: Tx, *, most: int) -> None:
        """Count the tasks that wait; in the upkeep's thread."""
        due = tasks.count_due(tx, self._config().queues, most=most)
        self._loop.post(partial(self._answered, due))

    def _answered(self, due: int) -> None:
        self._ask_at = time.monotonic() + AGAIN
        if self.bounds is not None:
            self._set(min(self.size + math.ceil(due / self._share), self.bounds.most))

    def _set(self, size: int) -> None:
        if size != self.size:
            self._resize(size)


def keepalive() -> float:
    """Return the seconds of `AUTOSCALE_KEEPALIVE`; raises ImproperlyConfigured for what is no number."""
    text = os.environ.get(KEEPALIVE, "30")
    try:
        seconds = float(text)
    except ValueError:
        raise ImproperlyConfigured(f"{KEEPALIVE} is a number of seconds, not {text!r}") from None
    return max(seconds, 0.0)
