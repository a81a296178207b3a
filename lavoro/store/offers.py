"""Offers of sleeping workers, and the tasks that calls have assigned to them."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import pq
from psycopg.errors import LockNotAvailable

from lavoro.protocol.message import Job
from lavoro.store.arrays import integers, texts
from lavoro.store.tx import Tx


def channel(schema: str, worker_id: int) -> str:
    """Return the channel on which a worker is told the ids of the tasks that calls have assigned to it."""
    return f"{schema}_assigned_{worker_id}"


def offer(tx: Tx, worker_id: int, counts: Mapping[str, int], *, seconds: float) -> None:
    """Offer to take so many tasks of each queue at once, for so many seconds."""
    parameters = {"queues": texts(list(counts)), "counts": integers(list(counts.values()))}
    tx.execute("offer_slots", parameters | {"worker_id": worker_id, "seconds": seconds})


def withdraw(tx: Tx, worker_id: int) -> None:
    """Withdraw a worker's offers. After this, tasks that calls have assigned are in ``running``."""
    tx.execute("withdraw_offers", {"worker_id": worker_id})


def withdraw_soon(tx: Tx, worker_id: int, *, timeout: float) -> bool:
    """Withdraw in a transaction of its own; False if a call that takes an offer does not end in so many seconds."""
    try:
        with tx.short_locks(f"{round(timeout * 1000)}ms"):
            withdraw(tx, worker_id)
    except LockNotAvailable:
        return False
    return True


def fetch(tx: Tx, worker_id: int, ids: Sequence[uuid.UUID]) -> list[Job]:
    """Read tasks that were assigned to this worker, those that are still running."""
    wanted = ",".join(map(str, ids))
    found = tx.run_prepared("fetch_assigned", [b"{%s}" % wanted.encode(), b"%d" % worker_id], _FORMATS)
    return [_job(*(_text(found.get_value(row, column)) for column in range(10))) for row in range(found.ntuples)]


_FORMATS = (pq.Format.TEXT, pq.Format.TEXT)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _job(
    id: Any, name: Any, args: Any, kwargs: Any, options: Any, queue: Any, priority: Any, attempt: Any, due: Any,
    cancel: Any,
) -> Job:  # fmt: skip
    """Make a job of a row's texts; an assigned task has no payload, is new, and never expires."""
    moment = dt.datetime.fromtimestamp(float(due), dt.timezone.utc)
    return Job(
        uuid.UUID(id), name, args, kwargs, options, None, queue, int(priority), int(attempt), 0, 0, moment, None,
        False, cancel == "t",
    )  # fmt: skip
