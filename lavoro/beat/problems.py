"""Tells of problems of schedules in a worker's log: once each, until it is gone."""

from __future__ import annotations

import logging
import time

from lavoro.store import entries
from lavoro.store.tx import Tx

logger = logging.getLogger("lavoro.beat")

INTERVAL = 60.0
"""Seconds between two looks."""
MOST = 100
"""The most problems of one look."""


class Problems:
    """Looks for schedules that are late, whose tasks no worker knows, or that have an error."""

    def __init__(self) -> None:
        self._next = time.monotonic() + INTERVAL
        self._told: set[tuple[str, str]] = set()

    def look(self, tx: Tx) -> None:
        """Look if a minute has passed, and log what is new."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + INTERVAL
        found = {(problem.name, problem.kind): problem for problem in entries.problems(tx, limit=MOST)}
        for key, problem in found.items():
            if key not in self._told:
                logger.warning("the schedule %r %s", problem.name, problem.words)
        self._told = set(found)
