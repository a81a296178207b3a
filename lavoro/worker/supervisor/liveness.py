"""A file whose age is the time for which a worker has not been healthy."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from lavoro.runtime.service import Service
from lavoro.worker.supervisor.children import Children
from lavoro.worker.supervisor.process import ChildProcess
from lavoro.worker.supervisor.upkeep import Upkeep

logger = logging.getLogger("lavoro.worker")

INTERVAL = 1.0
"""Seconds between two touches."""
TURNING = 2.0
"""Seconds within which the loop of each child has to have turned; it does so ten times a second."""


class Liveness(Service):
    """Touches a file once a second while the leases are renewed and the loops of all children turn.

    A renewal counts for half of the lease. Without a path nothing is done. A stop removes the file.
    """

    name = "liveness"

    def __init__(self, path: str | None, upkeep: Upkeep, children: Children) -> None:
        super().__init__()
        self._path = Path(path) if path else None
        self._upkeep, self._children = upkeep, children

    def step(self) -> float | None:
        """Touch the file if the worker is healthy."""
        if self._path is None:
            return None
        if self._healthy():
            self._path.touch()
        return INTERVAL

    def close(self) -> None:
        """Remove the file."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def failed(self, error: Exception) -> None:
        """Log once that the file cannot be written."""
        if self.failures == 1:
            logger.error("the liveness file %s cannot be written: %s", self._path, error)

    def _healthy(self) -> bool:
        children = self._children.ready
        renewed = time.monotonic() < self._upkeep.healthy_until
        return renewed and bool(children) and all(map(_turns, children))


def _turns(child: ChildProcess) -> bool:
    try:
        return child.scoreboard is not None and time.monotonic() - child.scoreboard.ticked < TURNING
    except ValueError:  # the child was reaped this moment
        return False
