"""Stopping a worker: warm, cold, and by force when the time is up."""

from __future__ import annotations

import logging
import time

from lavoro.worker.children import LEAVING, Children
from lavoro.worker.process import Ending

logger = logging.getLogger("lavoro.worker")

COLD = 2.0
"""Seconds a child gets to store its last outcomes when it is to stop now."""


class Stopping:
    """The order to stop, once it was given: what follows may only shorten the time."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._by: float | None = None
        self._cold = False

    @property
    def begun(self) -> bool:
        """Whether the worker was told to stop."""
        return self._by is not None

    def order(self, why: str, *, cold: bool, grace: float) -> None:
        """Tell everybody to leave; a cold stop after a cold one is the end."""
        now, how = time.monotonic(), "cold" if cold else "warm"
        grace = 0.0 if cold else grace
        logger.info("%s: stopping (%s), up to %g s", why, how, grace)
        self._children.die_out()
        self._by = now if self._cold else now + (COLD if cold else grace + LEAVING)
        self._cold = cold
        for child in self._children.present:
            if child.worker_id is None:
                child.kill(Ending("the worker stopped before it could begin", orderly=True))
            else:
                child.stop(grace, how=how, sig=why, node=True)

    def enforce(self, now: float) -> None:
        """End those that should be gone."""
        if self._by is not None and now > self._by:
            for child in self._children.present:
                child.kill(Ending("it did not stop in time", orderly=True))
