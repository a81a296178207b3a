"""Upkeep: what a node owes the database, on one connection that no user code touches: leases, rescue, retention."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from lavoro.service import Service, jitter
from lavoro.store import partitions, workers
from lavoro.store.database import OUTAGE, Database, Tx
from lavoro.store.workers import Cancel, Registration, Renewal, Rescue

logger = logging.getLogger("lavoro.worker")

RENEWALS = 4
"""Renewals per lease: two may fail before we fence ourselves off, and others take over."""
RETENTION_INTERVAL = 600.0
STRAYS_INTERVAL = 60.0
LOCK_TIMEOUT = "2s"
"""A row that somebody holds must not keep us from renewing leases; what had to wait is tried again."""
IDLE_TIMEOUT = "5s"
"""A node that is stopped in the middle of a rescue must not keep the others from it: the server ends its session."""


class Hooks(NamedTuple):
    """What the upkeep tells its node, in its own thread."""

    lost: Callable[[set[int]], None]
    """These workers' leases were ended by others."""
    cancel: Callable[[Sequence[Cancel]], None]
    """These tasks are to be ended: all there are, at each renewal."""


class Upkeep(Service):
    """The node's own duties in the database, one round after the other.

    ``trusted_until`` is when, by our monotonic clock, the leases may have run out: counted from before the last
    renewal that was answered.
    """

    name = "upkeep"
    expected = OUTAGE

    def __init__(
        self,
        database: Database,
        hooks: Hooks,
        *,
        node: str,
        lease: float,
        max_crashes: int,
        retention: dict[str, float | None],
    ) -> None:
        super().__init__()
        self._node = node
        self._database, self._hooks = database, hooks
        self._lease, self._max_crashes, self._retention = lease, max_crashes, retention
        self.max_backoff = min(self.max_backoff, lease / RENEWALS)
        self._tx: Tx | None = None
        self._leases: set[int] = set()
        self._newcomers: deque[tuple[Registration, Callable[[int], None]]] = deque()
        self._lost: deque[Rescue] = deque()
        self._renewed = self._looked_for_strays = -math.inf
        # Nodes that start together must not all begin with the partitions.
        self._retained = time.monotonic() - RETENTION_INTERVAL + jitter(0, 5)
        self._strangers_from = -math.inf
        self._expiry = math.inf
        """When, by our monotonic clock, the first lease of another node runs out."""
        self._renew_now = False
        self.trusted_until = -math.inf

    # From other threads

    def register(self, registration: Registration, registered: Callable[[int], None]) -> None:
        """Get a worker id for a child, as soon as the database allows; the answer comes in the loop's thread."""
        self._newcomers.append((registration, registered))
        self.wake()

    def rescue(self, lost: Rescue) -> None:
        """Have the tasks of a child that is gone rescued, as soon as the database allows."""
        self._lost.append(lost)
        self.wake()

    def renew(self) -> None:
        """Renew now: some task is to be cancelled, and a renewal tells which."""
        self._renew_now = True
        self.wake()

    # The loop

    def step(self) -> float:
        """Do what is due, leases first: one that runs out harms the most."""
        renewal = None
        with self._connection() as tx:
            if self._renew_now or time.monotonic() >= self._next_renewal():
                renewal = self._renew(tx)
            self._register_newcomers(tx)
            self._rescue_children(tx)
            if time.monotonic() >= self._next_rescue():
                self._rescue_strangers(tx)
            if renewal is not None:
                self._rescue_strays(tx)
                self._retain_if_due(tx)
        return max(0.001, min(self._next_renewal(), self._next_rescue()) - time.monotonic())

    def close(self) -> None:
        """Rescue what is left, then close the connection; the first try may find that a restart has cut it."""
        for _ in range(2):
            if self._lost:
                self._guarded_step()
        if self._lost:
            logger.error(
                "the tasks of %d processes could not be given back: others will, in %g s", len(self._lost), self._lease
            )
        self._disconnect()

    @contextmanager
    def _connection(self) -> Iterator[Tx]:
        """Lend the connection; whatever goes wrong on it, it is not used again."""
        try:
            if self._tx is None:
                self._tx = self._database.open("lavoro-upkeep", patience=max(5.0, self._lease / 4))
            yield self._tx
        except Exception:
            self._disconnect()
            # After an outage all leases look run out, and those who held them know better what was running.
            self._strangers_from = time.monotonic() + self._lease
            self._renew_now = True
            raise

    def _disconnect(self) -> None:
        if self._tx is not None:
            self._tx.connection.close()
            self._tx = None

    # Leases

    def _next_renewal(self) -> float:
        return self._renewed + self._lease / RENEWALS

    def _renew(self, tx: Tx) -> Renewal:
        sent, self._renew_now = time.monotonic(), False  # before: what is asked for meanwhile must not be lost
        renewal = workers.renew(tx, list(self._leases), back=workers.EVER if self._strays_due() else 2 * self._lease)
        self._renewed, self.trusted_until = sent, sent + self._lease
        # To come, it is seen by other nodes too.
        self._expiry = sent + renewal.expiry + (jitter(0, 0.5) if renewal.expiry > 0 else 0)
        lost = self._leases - renewal.live
        self._leases -= lost
        if lost:
            self._hooks.lost(lost)
        self._hooks.cancel(renewal.cancels)
        return renewal

    def _register_newcomers(self, tx: Tx) -> None:
        """Give leases to new children, once a renewal has gone well: one that cannot be renewed is worth nothing.

        Who has it would claim tasks and be ended with it, before they are done, and so would its successor.
        """
        while self._newcomers:
            registration, registered = self._newcomers[0]
            worker_id = workers.register(tx, registration)
            self._leases.add(worker_id)
            self._newcomers.popleft()
            registered(worker_id)

    # Rescue

    def _rescue_children(self, tx: Tx) -> None:
        while self._lost:
            self._rescue(tx, self._lost[0])
            self._leases.discard(self._lost.popleft().worker_id)

    def _next_rescue(self) -> float:
        return max(self._expiry, self._strangers_from)

    def _rescue_strangers(self, tx: Tx) -> None:
        """Any node may do this for any other: a lease is ended by one statement, by one of them."""
        while self._rescue_stranger(tx):
            pass
        self._expiry = math.inf  # until the next renewal tells

    def _strays_due(self) -> bool:
        return time.monotonic() - self._looked_for_strays > STRAYS_INTERVAL

    def _rescue_strays(self, tx: Tx) -> None:
        if self._strays_due() and time.monotonic() >= self._strangers_from:
            self._looked_for_strays = time.monotonic()
            for worker_id in workers.strays(tx):
                self._rescue(tx, Rescue(worker_id, "its worker had no lease any more", [], blameless=True))

    def _rescue_stranger(self, tx: Tx) -> bool:
        """End a lease that ran out, with all that hangs on it; tell whether there was one."""
        with self._impatient(tx):
            found = workers.expire(tx)
            if found is not None:
                worker_id, name = found
                self._rescue(tx, Rescue(worker_id, f"worker {name} was lost: its lease ran out"))
        return found is not None

    def _rescue(self, tx: Tx, lost: Rescue) -> None:
        with self._impatient(tx):
            waiting, ended = workers.rescue(tx, lost, max_crashes=self._max_crashes)
        if waiting or ended:
            logger.warning("%s: %d tasks wait again, %d have ended", lost.reason, waiting, ended)

    @contextmanager
    def _impatient(self, tx: Tx) -> Iterator[None]:
        with tx.connection.transaction():
            tx.connection.execute(
                "select set_config('lock_timeout', %s, true),"
                " set_config('idle_in_transaction_session_timeout', %s, true)",
                (LOCK_TIMEOUT, IDLE_TIMEOUT),
            )
            yield

    # Retention

    def _retain_if_due(self, tx: Tx) -> None:
        if time.monotonic() - self._retained < RETENTION_INTERVAL:
            return
        self._retained = time.monotonic()
        if workers.take_duty(tx, "retention", holder=self._node, seconds=RETENTION_INTERVAL - 60) is None:
            return  # another node has done it
        made = partitions.make_ahead(tx, {table: kept for table, kept in self._retention.items() if kept is not None})
        dropped = partitions.drop_behind(tx, self._retention)
        if made or dropped:
            logger.info("retention: made %s, dropped %s", made, dropped)
        workers.forget_old(tx, kept=self._retention["attempt"])
