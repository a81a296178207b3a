"""Upkeep: leases renewed, lost workers rescued, retention, all on one connection that no user code touches."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from lavoro.service import Service
from lavoro.store import partitions, workers
from lavoro.store.database import LOST, Database, Tx
from lavoro.store.workers import Registration, Rescue

logger = logging.getLogger("lavoro.worker")

RETENTION_INTERVAL = 600.0


class Upkeep(Service):
    """The node's own duties in the database.

    Leases are renewed six times per lease, so that five renewals may fail. ``trusted_until`` is when, by our monotonic
    clock, the leases may have run out: counted from before the last renewal that was answered.
    """

    name = "upkeep"

    def __init__(
        self,
        database: Database,
        *,
        lease: float,
        max_crashes: int,
        retention: dict[str, float | None],
        renewing: Callable[[], list[int]],
        lost: Callable[[set[int]], None],
        cancel: Callable[[list[tuple[object, int, int, str]]], None],
    ) -> None:
        super().__init__()
        self._database, self._lease, self._max_crashes = database, lease, max_crashes
        self._retention = retention
        self._renewing, self._lost, self._cancel = renewing, lost, cancel
        self._tx: Tx | None = None
        self._to_rescue: deque[Rescue] = deque()
        self._rescued = threading.Event()
        self._retained = 0.0
        self._renewed = 0.0
        self.trusted_until = time.monotonic() + lease

    def register(self, registration: Registration) -> int:
        """Record a child and return its worker id; called by the supervisor, on a connection of its own."""
        with self._database.tx() as tx:
            return workers.register(tx, registration)

    def rescue(self, lost: Rescue) -> None:
        """Have the tasks of a child that is gone rescued, as soon as the database allows."""
        self._rescued.clear()
        self._to_rescue.append(lost)
        self.wake()

    def wait_until_rescued(self, timeout: float) -> bool:
        """Wait until nothing is left to rescue."""
        return not self._to_rescue or self._rescued.wait(timeout)

    def step(self) -> float | None:
        """Renew, rescue, clean up: in this order, for a lease that runs out harms the most."""
        try:
            tx = self._tx = self._tx or self._database.open("lavoro-upkeep")
            if time.monotonic() - self._renewed >= self._lease / 6 - 0.05:
                self._renew(tx)
                self._rescue_strangers(tx)
            self._rescue_children(tx)
            if time.monotonic() - self._retained > RETENTION_INTERVAL:
                self._retain(tx)
        except LOST:
            self._lose()
            raise
        return self._lease / 6

    def close(self) -> None:
        """Rescue what is left, then close the connection."""
        if self._to_rescue:
            self._guarded_step()
        self._lose()

    def _renew(self, tx: Tx) -> None:
        ids = self._renewing()
        sent = time.monotonic()
        if ids:
            renewed = workers.renew(tx, ids)
            if missing := set(ids) - renewed:
                self._lost(missing)
            self._cancel(workers.cancelled(tx, ids))
        self._renewed = sent
        self.trusted_until = sent + self._lease

    def _rescue_strangers(self, tx: Tx) -> None:
        """Any node may do this for any other: a lease is ended by one statement, by one of them."""
        with tx.connection.transaction():
            for worker_id, name in workers.expired(tx):
                lost = Rescue(worker_id, f"worker {name} was lost: its lease ran out")
                self._report(lost, workers.rescue(tx, lost, max_crashes=self._max_crashes))

    def _rescue_children(self, tx: Tx) -> None:
        while self._to_rescue:
            lost = self._to_rescue[0]
            with tx.connection.transaction():
                counts = workers.rescue(tx, lost, max_crashes=self._max_crashes)
            self._to_rescue.popleft()
            self._report(lost, counts)
        self._rescued.set()

    def _report(self, lost: Rescue, counts: tuple[int, int]) -> None:
        if any(counts):
            logger.warning("%s: %d tasks wait again, %d ended as FAILURE", lost.reason, *counts)

    def _retain(self, tx: Tx) -> None:
        self._retained = time.monotonic()
        known = {table: seconds for table, seconds in self._retention.items() if seconds is not None}
        made = partitions.make_ahead(tx, known)
        dropped = partitions.drop_behind(tx, self._retention)
        if made or dropped:
            logger.info("retention: made %s, dropped %s", made, dropped)

    def _lose(self) -> None:
        if self._tx is not None:
            self._tx.connection.close()
            self._tx = None
