"""Renews the leases of a node's children, and gives leases to new children."""

from __future__ import annotations

import datetime as dt
import logging
import math
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from lavoro.runtime.service import jitter
from lavoro.store import workers
from lavoro.store.tx import Tx
from lavoro.store.workers import Registration
from lavoro.worker.supervisor.clock_correction import ClockCorrection
from lavoro.worker.supervisor.duty import RENEWALS, Duty, Hooks
from lavoro.worker.supervisor.rescue import Rescuer

logger = logging.getLogger("lavoro.worker")

IDLE, LONGEST = 8, 240.0
"""The factor by which leases are longer while all children are idle, and the most seconds of such a lease."""
IDLE_RENEWAL = 3 / 8
"""The part of such a lease after which it is renewed: 500 idle nodes cost a database little, and retries have time."""
STUCK, STUCK_INTERVAL = 1.0, 0.25
"""Seconds without a turn of the main loop after which leases are not renewed, or a quarter of the lease if that is
more; and seconds between two checks meanwhile. The loop turns four times a second."""


class LeaseLength:
    """The length of the leases: the usual time, or longer while all children are idle."""

    def __init__(self, usual: float) -> None:
        self.usual, self.long = usual, max(usual, min(IDLE * usual, LONGEST))
        self.in_force = usual
        """The last length: the usual, or the long one; if it may have been shortened, the usual."""
        self.idle = False
        self._perhaps_long = False
        self._known: dt.datetime | None = None
        """When, by the database's clock, the last renewal that was answered came."""

    @property
    def interval(self) -> float:
        """The seconds from one renewal to the next."""
        return self.in_force * (IDLE_RENEWAL if self.in_force > self.usual else 1 / RENEWALS)

    @property
    def factor(self) -> float:
        """The factor by which the leases are longer than usual."""
        return self.in_force / self.usual

    def renew(self, tx: Tx, leases: set[int], length: float, *, ever: bool) -> workers.Renewal:
        """Renew leases for this length; with ``ever``, find leases of other nodes however long ago they expired."""
        shortening, self._perhaps_long = self._perhaps_long, self._perhaps_long or length > self.usual
        self.in_force = min(self.in_force, length)  # the answer may be lost: trust the long one no more
        renewal = workers.renew(
            tx, list(leases), back=workers.EVER if ever else 2 * self.in_force, factor=length / self.usual,
            known=self._known, shortening=shortening and length == self.usual,
        )  # fmt: skip
        self.in_force, self._perhaps_long, self._known = length, length > self.usual, renewal.seen
        return renewal


class Newcomer(NamedTuple):
    """A child that waits for its lease."""

    registration: Registration
    registered: Callable[[int], None]


class LeaseRenewal(Duty):
    """All leases of a node are renewed by one statement, four times in each lease.

    ``trusted_until`` is when, by our monotonic clock, the leases may have expired: counted from before the last
    renewal that was answered, or before one that shortens them, answered or not. All children have the same.
    """

    def __init__(self, lease: float, hooks: Hooks, *, rescuer: Rescuer, clock: ClockCorrection) -> None:
        super().__init__()
        self.length = LeaseLength(lease)
        self.trusted_until = -math.inf
        self.renewed_at = -math.inf
        """When (monotonic) the last renewal that was answered was sent."""
        self._hooks, self._rescuer, self._clock = hooks, rescuer, clock
        self._leases: set[int] = set()
        self._newcomers: deque[Newcomer] = deque()
        self._at_once = self._stuck = False

    # From other threads

    def register(self, registration: Registration, registered: Callable[[int], None]) -> None:
        """Get a worker id for a child; ``registered`` gets it in the upkeep's thread."""
        self._newcomers.append(Newcomer(registration, registered))

    def forget(self, worker_id: int) -> None:
        """Renew a lease no longer: that of a dead child must expire, even if its tasks cannot be rescued here."""
        self._leases.discard(worker_id)

    def renew(self) -> None:
        """Renew in the next round, whenever the next renewal is due."""
        self._at_once = True

    # The duty

    @property
    def due(self) -> float:
        """When the next renewal is due."""
        due = self.renewed_at + self.length.interval
        return max(due, time.monotonic() + STUCK_INTERVAL) if self._stuck else due

    @property
    def pending(self) -> bool:
        """Whether a child waits for its lease."""
        return bool(self._newcomers)

    def run(self, tx: Tx) -> None:
        """Renew if it is due, then give leases; an error of a renewal ends the round."""
        self._stuck = self._main_loop_is_stuck()
        if self._stuck:
            return
        if self._must_renew():
            self._renew(tx)
        self.attempt(tx, "to give leases", self._register_newcomers)

    def _main_loop_is_stuck(self) -> bool:
        """Whether the main loop has not turned for so long that no lease is renewed until it does.

        It does not watch the children then: their leases must expire, so that other nodes take their tasks.
        """
        since = time.monotonic() - self._hooks.turned()
        stuck = since > max(STUCK, self.length.usual / RENEWALS)
        if stuck and not self._stuck:
            logger.error("the main loop has not turned for %.1f s: no lease is renewed until it does", since)
        elif self._stuck and not stuck:
            logger.warning("the main loop turns again")
            self._at_once = True
        return stuck

    def _must_renew(self) -> bool:
        """Also before a rescue: a node that seemed to be gone may have renewed since, and the next may expire soon."""
        due = time.monotonic() >= min(self.due, self._rescuer.due)
        return self._at_once or due or self._wanted() < self.length.in_force

    def _wanted(self) -> float:
        """Return the length to ask for; a new child begins with the usual one, and all children have the same."""
        return self.length.long if self.length.idle and not self._newcomers else self.length.usual

    def _renew(self, tx: Tx) -> None:
        # Before the statement: a request, or a notification, that comes meanwhile must not be lost.
        sent, self._at_once, length = time.monotonic(), False, self._wanted()
        self._rescuer.forget_expected()
        if length < self.length.in_force:
            self.trusted_until = min(self.trusted_until, sent + length)
        leases = set(self._leases)
        # A lease that expired long ago may still be watched, for up to half of the longest lease.
        ever = self._rescuer.orphans_due or self._clock.known_for < self.length.long
        renewal = self.length.renew(tx, leases, length, ever=ever)
        if self._clock.read(tx, renewal.now, sent=sent, silent=sent - self.renewed_at):
            self._rescuer.require_search()
        self.renewed_at, self.trusted_until = sent, sent + length
        # A lease that expires in the future is seen by other nodes too: jitter keeps them apart.
        expiry = sent + renewal.expiry + (jitter(0, 0.5) if renewal.expiry > 0 else 0)
        self._rescuer.renewed(expiry=expiry, factor=self.length.factor)
        lost = leases - renewal.live
        self._leases -= lost
        if lost:
            self._hooks.lost(lost)
        self._hooks.cancel(renewal.cancels)

    def _register_newcomers(self, tx: Tx) -> None:
        """Give leases to new children, once a renewal has gone well: a lease that cannot be renewed is worth nothing.

        Its child would claim tasks and be ended with it, before they are done, and so would its successor. Nor while
        the other children have the long lease: ``trusted_until`` is the same for all.
        """
        while self._newcomers and self.length.in_force <= self.length.usual:
            newcomer = self._newcomers[0]
            worker_id = workers.register(tx, newcomer.registration)
            self._leases.add(worker_id)
            self._newcomers.popleft()
            newcomer.registered(worker_id)
