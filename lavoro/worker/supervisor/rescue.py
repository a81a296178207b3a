"""Rescues the tasks of processes that are gone: of the node's own children, of expired leases, and orphans."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable

from lavoro import exceptions, task_log
from lavoro.runtime.service import jitter
from lavoro.store import workers
from lavoro.store.tx import Tx
from lavoro.store.workers import Ending, Rescue
from lavoro.text.plural import counted
from lavoro.worker.supervisor.duty import RENEWALS, Duty
from lavoro.worker.supervisor.server_clock import ServerClock

logger = logging.getLogger("lavoro.worker")

ORPHANS_INTERVAL = 60.0
"""Seconds between two searches for orphans; idle nodes search more seldom, but a minute after each expired lease."""
LOCK_TIMEOUT = "2s"
"""The longest wait for a locked row: the node must renew leases, and tries the rescue again."""
IDLE_TIMEOUT = "5s"
"""The server ends the session of a node that is stopped during a rescue, so that other nodes can do it."""


class Rescuer(Duty):
    """Requeues or ends the tasks of processes that are gone.

    Any node may do it for any other: one statement ends a lease, so only one node succeeds.
    """

    def __init__(
        self, clock: ServerClock, *, lease: float, max_crashes: int, rescued: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__()
        self._clock, self._lease, self._max_crashes, self._rescued = clock, lease, max_crashes, rescued
        self._dead: deque[Rescue] = deque()
        self._expiry = self._expected = math.inf
        """When (monotonic) the first lease of another node expires: as a renewal read, and as a notification told."""
        self._orphans_from = -math.inf
        self._factor = 1.0
        """The factor by which our leases are longer than usual."""
        self._has_renewed = self._has_rescued = False

    # From other threads

    def add(self, dead: Rescue) -> None:
        """Rescue the tasks of a child that is gone, as soon as the database allows."""
        self._dead.append(dead)

    def expect_expiry(self, seconds: float) -> None:
        """Take in that a lease expires in so many seconds unless it is renewed, perhaps before those already known."""
        self._expected = min(self._expected, time.monotonic() + seconds + jitter(0, 0.5))

    # From the renewal

    def forget_expected(self) -> None:
        """Forget the notified expiries so far: the statement that follows reads the leases."""
        self._expected = math.inf

    def renewed(self, *, expiry: float, factor: float) -> None:
        """Take over from a renewal when the first lease of another node expires."""
        self._expiry, self._factor, self._has_renewed = expiry, factor, True

    @property
    def orphans_due(self) -> bool:
        """Whether a search for orphans is due after the next renewal."""
        return time.monotonic() >= self._orphans_from

    def require_search(self) -> None:
        """Search for all orphans, however old: after the clock was set, expired leases may have looked alive."""
        self._orphans_from = -math.inf

    # The duty

    @property
    def due(self) -> float:
        """When the first lease of another node expires."""
        return min(self._expiry, self._expected)

    @property
    def pending(self) -> bool:
        """Whether a child of ours is not rescued yet."""
        return bool(self._dead)

    @property
    def left(self) -> int:
        """The number of children of ours that are not rescued yet."""
        return len(self._dead)

    def run(self, tx: Tx) -> None:
        """Do the rescues that are due, those of our own children first."""
        self.attempt(tx, "to rescue tasks of our own", self._rescue_children)
        if time.monotonic() >= self.due:
            self.attempt(tx, "to rescue tasks of others", self._rescue_expired)
        if self._has_renewed:
            self._has_renewed = False
            self.attempt(tx, "to rescue orphans", self._rescue_orphans)
        if self._has_rescued:  # not before: the rescues are committed now
            self._has_rescued = False
            self._rescued()

    def _rescue_children(self, tx: Tx) -> None:
        while self._dead:
            try:
                self._rescue(tx, self._dead[0])
            except BaseException:
                self._dead.rotate(-1)  # the next try begins with another one
                raise
            self._dead.popleft()

    def _rescue_expired(self, tx: Tx) -> None:
        self._expected = math.inf
        try:
            while self._rescue_first_expired(tx):
                pass
        finally:  # a renewal will tell; another node may be ending one now
            self._expiry = time.monotonic() + self._lease / RENEWALS

    def _rescue_first_expired(self, tx: Tx) -> bool:
        """End an expired lease, with all its tasks; return whether there was one.

        The server's clock counts how long a lease has not moved, as far back as that clock is known to agree with ours.
        """
        with tx.short_locks(LOCK_TIMEOUT, idle=IDLE_TIMEOUT):
            found = workers.expire(
                tx, since=self._clock.true_since, latest=self._clock.latest, answers_since=self._clock.answers_since
            )
            if found is not None:
                worker_id, name = found
                self._rescue(tx, Rescue(worker_id, Ending.expired(f"worker {name} was lost: its lease expired")))
                # A claim that was under way may come after this.
                self._orphans_from = min(self._orphans_from, time.monotonic() + ORPHANS_INTERVAL)
        return found is not None

    def _rescue_orphans(self, tx: Tx) -> None:
        """Rescue tasks of workers without a lease."""
        if not self.orphans_due:
            return
        ever = self._orphans_from == -math.inf  # the first search finds orphans from a time without any node
        self._orphans_from = time.monotonic() + ORPHANS_INTERVAL * self._factor
        for worker_id in workers.of_orphans(tx, ever=ever):
            self._rescue(tx, Rescue(worker_id, Ending.fenced("its worker had no lease any more")))

    def _rescue(self, tx: Tx, dead: Rescue) -> None:
        with tx.short_locks(LOCK_TIMEOUT, idle=IDLE_TIMEOUT):
            rescued = workers.rescue(tx, dead, max_crashes=self._max_crashes)
        ending = dead.ending
        self._has_rescued = self._has_rescued or not ending.by_order
        for part in rescued:
            back = counted(part.waiting, "task waits again", "tasks wait again")
            about = part.reason
            if ending.told is not None:
                about = ending.told + (about.removeprefix(ending.reason).removeprefix("; it") or " had begun no task")
            logger.warning("%s: %s, %s", about, back, counted(len(part.ended), "has ended", "have ended"))
            for name, id, error, message in part.ended:
                _log_end(name, id, getattr(exceptions, error)(message))


def _log_end(name: str, id: str, error: Exception) -> None:
    """Log the end of a task as its own process would have."""
    if isinstance(error, exceptions.TaskRevokedError):
        task_log.outcomes.info("Task %s[%s] revoked while it ran", name, id, extra={"task_name": name, "task_id": id})
    else:
        task_log.tell_lost(name, id, error)
