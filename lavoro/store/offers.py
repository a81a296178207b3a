"""Offers of workers at rest, and the tasks that calls have claimed for them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from lavoro.message import Job
from lavoro.store.arrays import integers, texts
from lavoro.store.database import Tx


def offer(tx: Tx, worker_id: int, counts: Mapping[str, int], *, seconds: float) -> None:
    """Offer to take so many tasks of each queue at once, for so many seconds."""
    parameters = {"queues": texts(list(counts)), "counts": integers(list(counts.values()))}
    tx.execute("offer_slots", parameters | {"worker_id": worker_id, "seconds": seconds})


def withdraw(tx: Tx, worker_id: int) -> int:
    """Take back a worker's offers; return how many were left. What was taken is in ``running`` after this."""
    row = tx.row("withdraw_offers", {"worker_id": worker_id})
    return row[0] if row else 0


def fetch(tx: Tx, worker_id: int, ids: Sequence[uuid.UUID]) -> list[Job]:
    """Read tasks that were claimed for this worker, those that are still running."""
    return [Job._make(row) for row in tx.run("fetch_handed", {"ids": list(ids), "worker_id": worker_id})]
