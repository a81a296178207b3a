"""Upkeep: the duties of a node in the database, on one connection that no user code touches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from lavoro.runtime.service import Service
from lavoro.store.database import Database
from lavoro.store.errors import OUTAGE
from lavoro.store.session import Session
from lavoro.store.tx import Tx
from lavoro.store.workers import Registration, Rescue
from lavoro.text.plural import counted
from lavoro.worker.supervisor.clock_correction import ClockCorrection
from lavoro.worker.supervisor.duty import RENEWALS, Duty, Hooks
from lavoro.worker.supervisor.errands import Errands
from lavoro.worker.supervisor.held_tasks import HeldTasks
from lavoro.worker.supervisor.history import History
from lavoro.worker.supervisor.renewal import LeaseRenewal
from lavoro.worker.supervisor.rescue import Rescuer
from lavoro.worker.supervisor.retention import Retention
from lavoro.worker.supervisor.server_clock import ServerClock

logger = logging.getLogger("lavoro.worker")


class Terms(NamedTuple):
    """The name of a node, and the settings by which it keeps leases and rows."""

    node: str
    lease: float
    max_crashes: int
    retention: dict[str, float | None]


class Upkeep(Service):
    """Runs the duties of a node one after the other, leases first: an expired one does the most harm."""

    name = "upkeep"
    expected = OUTAGE

    def __init__(self, database: Database, hooks: Hooks, terms: Terms) -> None:
        super().__init__()
        self.max_backoff = min(self.max_backoff, terms.lease / RENEWALS)
        self.server_clock = ServerClock(lease=terms.lease)
        clock = ClockCorrection(self.server_clock, node=terms.node, lease=terms.lease)
        self.rescuer = Rescuer(
            self.server_clock, lease=terms.lease, max_crashes=terms.max_crashes, rescued=hooks.rescued
        )
        self.renewal = LeaseRenewal(terms.lease, hooks, rescuer=self.rescuer, clock=clock)
        self.errands = Errands()
        self.held = HeldTasks(hooks.rescued)
        self.duties: tuple[Duty, ...] = (
            self.renewal, self.rescuer, clock, self.held, Retention(terms.node, terms.retention), History(),
            self.errands,
        )  # fmt: skip
        self._session = Session(
            database, "lavoro-upkeep", patience=max(5.0, terms.lease / RENEWALS), lost=self.renewal.renew
        )

    # From other threads

    def register(self, registration: Registration, registered: Callable[[int], None]) -> None:
        """Get a worker id for a child, as soon as the database allows; the answer comes in the loop's thread."""
        self.renewal.register(registration, registered)
        self.wake()

    def rescue(self, dead: Rescue) -> None:
        """Rescue the tasks of a child that is gone, as soon as the database allows."""
        self.renewal.forget(dead.worker_id)
        self.rescuer.add(dead)
        self.wake()

    def ask(self, call: Callable[[Tx], object]) -> None:
        """Have a function called with the connection, as soon as the database allows, and after the other duties."""
        self.errands.add(call)
        self.wake()

    def renew(self) -> None:
        """Renew now; the answer also lists the cancelled tasks."""
        self.renewal.renew()
        self.wake()

    def idle(self, idle: bool) -> None:
        """Take in whether all children are idle; as soon as one is not, the lease gets short again."""
        self.renewal.length.idle = idle
        if not idle:
            self.wake()

    def expect_expiry(self, seconds: float) -> None:
        """Take in that a lease expires in so many seconds unless it is renewed."""
        self.rescuer.expect_expiry(seconds)
        self.wake()

    def limits_hold(self) -> None:
        """Take in that a limit holds tasks which come back when time has passed."""
        self.held.limits_hold()
        self.wake()

    @property
    def trusted_until(self) -> float:
        """When (monotonic) the leases may have expired."""
        return self.renewal.trusted_until

    @property
    def healthy_until(self) -> float:
        """Until when (monotonic) the node is healthy without a renewal: for half of the lease."""
        return self.trusted_until - self.renewal.length.in_force / 2

    # The loop

    def step(self) -> float:
        """Run each duty; return the seconds until the next one is due."""
        with self._session:
            tx = self._session.open()
            for duty in self.duties:
                duty.run(tx)
        pause = min(duty.due for duty in self.duties) - time.monotonic()
        if any(duty.pending for duty in self.duties):
            pause = min(pause, self.max_backoff)
        return max(0.001, pause)

    def close(self) -> None:
        """Rescue what is left, then close the connection; the first try may find that a restart has cut it."""
        for _ in range(2):
            if self.rescuer.left:
                self.try_step()
        if self.rescuer.left:
            logger.error(
                "the tasks of %s could not be requeued: other nodes will do so, in %g s",
                counted(self.rescuer.left, "process", "processes"), self.renewal.length.in_force,
            )  # fmt: skip
        self._session.close()
