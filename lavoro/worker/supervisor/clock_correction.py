"""Reads the server's clock at each renewal, and corrects stored times after that clock was set back."""

from __future__ import annotations

import datetime as dt
import logging
import time

from lavoro.store import clock, workers
from lavoro.store.tx import Tx
from lavoro.text.plural import counted
from lavoro.worker.supervisor.duty import RENEWALS, Duty
from lavoro.worker.supervisor.server_clock import ServerClock

logger = logging.getLogger("lavoro.worker")


class ClockCorrection(Duty):
    """Corrects the times of leases, and of tasks that were due at once, which lie in the future after such a change.

    One node does it. It leads for a short time, so that it delays no node that sees the next change.
    """

    def __init__(self, server: ServerClock, *, node: str, lease: float) -> None:
        super().__init__()
        self._server, self._node, self._lease = server, node, lease
        self._read_on: Tx | None = None
        """The connection of the last reading."""
        self._was_set = False

    @property
    def known_for(self) -> float:
        """The seconds for which the server's clock has agreed with ours, without an outage."""
        return self._server.known_for

    def read(self, tx: Tx, now: dt.datetime, *, sent: float, silent: float) -> bool:
        """Take the time from a renewal, ``silent`` seconds after the last one; return whether the clock was set.

        After an outage all leases look expired, and their own nodes know better which tasks ran. A reconnect sooner
        than all but one of RENEWALS is no outage: the other nodes could renew, and some servers end idle sessions.
        """
        outage = tx is not self._read_on and silent > (1 - 1 / RENEWALS) * self._lease
        first, self._read_on = self._server.latest is None, tx
        step = self._server.read(now, sent=sent, answered=time.monotonic(), outage=outage)
        if step:
            logger.warning("the clock of the database was set %s by %.1f s", "ahead" if step > 0 else "back", abs(step))
        self._was_set = self._was_set or first or bool(step)  # it may have been set while no worker ran
        return bool(step)

    def run(self, tx: Tx) -> None:
        """Correct the times if the clock was set."""
        if self._was_set:
            self.attempt(tx, "to correct times after the clock was set", self._correct)

    def _correct(self, tx: Tx) -> None:
        if workers.acquire_leadership(tx, "clock", holder=self._node, seconds=self._lease / RENEWALS / 2) is None:
            self._was_set = False
            return
        clock.pull_leases(tx)
        pulled, seconds = clock.pull_tasks(tx)
        self._was_set = False
        if pulled:
            logger.warning(
                "%s up to %.1f s in the future, because the clock of the database was set back: due now",
                counted(pulled, "task that was due at once lay", "tasks that were due at once lay"), seconds,
            )  # fmt: skip
