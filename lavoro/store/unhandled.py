"""Tasks that ended without their process, kept until a process that knows them calls their handlers."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import NamedTuple

from lavoro.protocol.message import Job
from lavoro.store.tx import Tx


class Unhandled(NamedTuple):
    """A task whose handlers have not been called yet."""

    id: uuid.UUID
    job: Job | None
    """None if its outcome was forgotten meanwhile."""
    error: str
    """The exception as JSON."""
    cancel: str | None
    """JSON that says how it was revoked; None if it was not."""


def take(tx: Tx, worker_id: int, names: Sequence[str]) -> Unhandled | None:
    """Take the oldest task of these names; None if there is none."""
    row = tx.row("take_unhandled", {"names": list(names), "worker_id": worker_id})
    if row is None:
        return None
    id, cancel, *call, error = row
    job = None if error is None else Job(*(id, *call, None, False, False))  # neither expired nor revoked before it ran
    return Unhandled(id, job, error or "", cancel)


def drop(tx: Tx, worker_id: int, id: uuid.UUID) -> bool:
    """Delete the task: its handlers were called. Return whether it was this worker's."""
    return bool(tx.run("drop_unhandled", {"id": id, "worker_id": worker_id}))


def are_left(tx: Tx) -> bool:
    """Return whether there are such tasks that no live process handles."""
    row = tx.row("unhandled_left")
    return bool(row and row[0])
