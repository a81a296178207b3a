"""Workers in the database: their leases, and the rescue of what they leave behind."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import NamedTuple

from lavoro.store.database import Tx


class Registration(NamedTuple):
    """What is known of a child process when it gets its lease."""

    node: str
    process: int
    host: str
    pid: int
    pool: str
    slots: int
    queues: list[str]
    release: str
    lease: float


class Rescue(NamedTuple):
    """A worker that is gone, and what is known of its end."""

    worker_id: int
    reason: str
    suspects: list[uuid.UUID] | None = None
    """The tasks that ran when it ended; None when nobody can know."""
    culprit: uuid.UUID | None = None
    """The task that ran past its hard time limit."""
    blameless: bool = False
    """True when no task can have caused the end, so that it counts against none."""
    orderly: bool = False
    """True when it had been told to stop: what it still held goes back as if it had never been claimed."""


def register(tx: Tx, registration: Registration) -> int:
    """Record a child and return its worker id."""
    row = tx.row("register_worker", registration._asdict())
    assert row is not None
    return int(row[0])


def renew(tx: Tx, worker_ids: Sequence[int]) -> set[int]:
    """Renew leases; return the workers that still have one."""
    return {row[0] for row in tx.run("renew_leases", {"ids": list(worker_ids)})}


def any_expired(tx: Tx) -> bool:
    """Tell whether there is a lease that ran out."""
    row = tx.row("any_lease_expired")
    return bool(row and row[0])


def expired(tx: Tx) -> list[tuple[int, str]]:
    """End the leases that ran out; return worker ids with their names."""
    return [(row[0], f"{row[1]}/{row[2]}") for row in tx.run("expire_leases")]


def rescue(tx: Tx, rescue: Rescue, *, max_crashes: int) -> tuple[int, int]:
    """End a worker and take its tasks; return how many wait again and how many ended as FAILURE.

    To be run in one transaction with whatever ended the lease.
    """
    tx.run("stop_worker", {"id": rescue.worker_id, "reason": rescue.reason})
    parameters = {**rescue._asdict(), "max_crashes": max_crashes}
    # Twice: a row that a revoke or progress changed while the first statement waited for it is found by the second.
    first, second = (tx.row("rescue_tasks", parameters) or (0, 0) for _ in range(2))
    return first[0] + second[0], first[1] + second[1]


def strays(tx: Tx) -> list[int]:
    """List workers without a lease that hold tasks all the same."""
    return [row[0] for row in tx.run("stray_workers")]


def forget_old(tx: Tx, *, kept: float) -> tuple[int, int]:
    """Delete old revokes, and workers that stopped more than ``kept`` seconds ago; return how many of each."""
    row = tx.row("forget_old", {"kept": kept})
    return (row[0], row[1]) if row else (0, 0)


def cancelled(tx: Tx, worker_ids: Sequence[int]) -> list[tuple[uuid.UUID, int, int, str]]:
    """List what is to be cancelled: task id, worker id, attempt, and how."""
    return [(r[0], r[1], r[2], r[3]) for r in tx.run("cancelled_tasks", {"worker_ids": list(worker_ids)})]
