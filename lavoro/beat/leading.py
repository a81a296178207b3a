"""Runs a scheduler class in one process of all: its lease is a row, and it ticks only while the lease is its own."""

from __future__ import annotations

import logging
import math
import os
import socket
import time
import uuid
from collections.abc import Callable
from typing import Any

from lavoro.beat.owner import owner_of
from lavoro.runtime.service import Service
from lavoro.store import schedules, workers
from lavoro.store.errors import OUTAGE
from lavoro.store.session import Session

logger = logging.getLogger("lavoro.beat")

LEASE = 15.0
"""Seconds after which another process takes over from one that is gone."""
RENEWALS = 3
"""Renewals per lease; another process asks as often whether the lease is free."""
ANSWER = 5.0
"""Seconds that a statement has for its answer."""


class Leader(Service):
    """Ticks a scheduler while this process has the lease; ``begin`` makes the scheduler, each time the lease is won.

    Two processes never have the lease at once, by the clock of the database. A process that is stopped in the middle of
    a tick for longer than the lease still ends this tick when it goes on, and no other.
    """

    name = "scheduler"
    expected = OUTAGE

    def __init__(self, app: Any, begin: Callable[[], Any]) -> None:
        super().__init__()
        self._app, self._begin = app, begin
        self._session = Session(app.database, "lavoro-scheduler", patience=ANSWER)
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._scheduler: Any = None
        self._term: int | None = None
        self._trusted_until = -math.inf
        """When (monotonic) the lease may be over."""
        self._renew_at = -math.inf

    @property
    def leads(self) -> bool:
        """Whether this process has the lease."""
        return self._term is not None and time.monotonic() < self._trusted_until

    def step(self) -> float:
        """Tick once; return the seconds until the next call, or until the lease has to be asked for."""
        if time.monotonic() >= self._renew_at or not self.leads:
            self._ask()
        if not self.leads:
            return max(0.001, self._renew_at - time.monotonic())
        if self._scheduler is None:
            self._scheduler = self._begin()
        pause = self._scheduler.tick()
        if pause and pause > 0 and self._scheduler.should_sync():
            self._scheduler._do_sync()
        return max(0.0, min(pause or 0.0, self._renew_at - time.monotonic()))

    def _ask(self) -> None:
        """Renew the lease, or try to get it."""
        asked, app = time.monotonic(), owner_of(self._app)
        self._renew_at = asked + LEASE / RENEWALS
        with self._session:
            tx = self._session.open()
            kept = self._term is not None and workers.renew_leadership(
                tx, schedules.leadership(app), term=self._term, seconds=LEASE
            )
            if not kept:
                self._lose()
                self._term = schedules.lead(tx, app, holder=self._holder, seconds=LEASE)
                if self._term is not None:
                    logger.info("this process runs the scheduler")
        if self._term is not None:
            self._trusted_until = asked + LEASE

    def _lose(self) -> None:
        """Close the scheduler, which another process may run by now."""
        scheduler, self._scheduler, term, self._term = self._scheduler, None, self._term, None
        if term is not None:
            logger.warning("the lease of the scheduler ran out before it was renewed: another process may have it")
        if scheduler is not None:
            try:
                scheduler.close()
            except Exception:
                logger.exception("the scheduler cannot be closed")

    def close(self) -> None:
        """Close the scheduler, and give the lease back, so that another process takes over at its next question."""
        scheduler, self._scheduler = self._scheduler, None
        try:
            if scheduler is not None:
                scheduler.close()
        except Exception:
            logger.exception("the scheduler cannot be closed")
        if self._term is not None:
            try:
                with self._session:
                    name = schedules.leadership(owner_of(self._app))
                    workers.renew_leadership(self._session.open(), name, term=self._term, seconds=0)
            except OUTAGE as error:
                logger.warning("the lease of the scheduler cannot be given back: it ends in %g s: %s", LEASE, error)
        self._session.close()
