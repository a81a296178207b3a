"""Runs the start-up functions of the fleet: once over all workers of a release, while the others wait."""

from __future__ import annotations

import logging
import time
from typing import Any

from lavoro.application import hooks
from lavoro.application.hooks import Hook
from lavoro.application.release import release_of
from lavoro.exceptions import LavoroError
from lavoro.store import startups
from lavoro.store.startups import Startup
from lavoro.worker.pipe import Pipe

logger = logging.getLogger("lavoro.worker")

AGAIN = 0.5
"""Seconds between two looks at a function that another worker runs."""


class ToldToStop(Exception):
    """The worker stops, and the functions of the fleet have not all run."""


class FleetStart:
    """Runs them in a process with a lease: while it has the lease, no other worker runs the same function."""

    def __init__(self, app: Any, pipe: Pipe, worker_id: int) -> None:
        self._app, self._pipe, self._worker_id = app, pipe, worker_id

    def run(self) -> None:
        """Return once all have run, here or elsewhere; raises LavoroError, and ``ToldToStop``."""
        found = self._app.startup.of("fleet")
        release = release_of(self._app) if found else ""
        for hook in found:
            self._run_or_wait(hook, Startup(self._app.main or "", release, hook.name))

    def _run_or_wait(self, hook: Hook, startup: Startup) -> None:
        told = ""
        while True:
            with self._app.database.tx() as tx:
                standing = startups.standing(tx, startup)
                if standing is not None and standing.over:
                    return
                mine = startups.begin(tx, startup, worker_id=self._worker_id)
            if mine:
                self._run_here(hook, startup)
                return
            if standing is not None and standing.worker != told:
                told = standing.worker
                logger.info("waiting for the start-up function %s, which %s runs", hook.name, told)
            if self._pipe.has("stop"):
                raise ToldToStop
            time.sleep(AGAIN)

    def _run_here(self, hook: Hook, startup: Startup) -> None:
        hooks.start([hook], self._app.resources)
        with self._app.database.tx() as tx:
            if not startups.end(tx, startup, worker_id=self._worker_id):
                raise LavoroError(f"the start-up function {hook.name} has run, but this process has lost its lease")
        logger.info("the start-up function %s has run for release %s", hook.name, startup.release)
