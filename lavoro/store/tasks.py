"""A task's way through the three tables; every function runs in the caller's transaction."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import NamedTuple

from lavoro.message import Job, Message
from lavoro.outcome import Finished, GivenBack
from lavoro.store.database import Tx


class Lane(NamedTuple):
    """A queue and priority to claim from, and where in it to begin looking."""

    queue: str
    priority: int
    bound: dt.datetime


def insert(tx: Tx, messages: Sequence[Message], *, always_wake: bool = False) -> None:
    """Store messages; ids that are stored already are left alone, so a repeat after a lost answer is harmless.

    ``always_wake`` is for a caller's transaction: whoever falls asleep before it commits must hear of it.
    """
    if len(messages) == 1 and not always_wake:
        tx.run("insert_task", messages[0]._asdict())
    elif messages:
        columns = [list(column) for column in zip(*messages, strict=True)]
        tx.run("insert_tasks", {**dict(zip(_COLUMNS, columns, strict=True)), "always": always_wake})


_COLUMNS = (
    "ids", "names", "queues", "priorities", "retries", "etas", "countdowns", "expires", "expires_in", "args", "kwargs",
    "options", "payloads",
)  # fmt: skip


def claim(tx: Tx, worker_id: int, *, lanes: Sequence[Lane], limit: int) -> list[Job]:
    """Take up to ``limit`` due tasks, best lane first."""
    queues, priorities, bounds = (list(column) for column in zip(*lanes, strict=True))
    parameters = {
        "queues": queues, "priorities": priorities, "bounds": bounds, "limit": limit, "worker_id": worker_id,
    }  # fmt: skip
    return [Job._make(row) for row in tx.run("claim_tasks", parameters)]


def adopt(tx: Tx, worker_id: int, *, known: Sequence[uuid.UUID]) -> list[Job]:
    """List what the worker holds without knowing it: a claim whose answer was lost."""
    return [Job._make(row) for row in tx.run("adopt_tasks", {"worker_id": worker_id, "known": list(known)})]


def discover_lanes(tx: Tx, queues: Sequence[str]) -> list[tuple[str, int, float]]:
    """List queue, priority and seconds until the first task is due, of each lane that has tasks and is not paused."""
    return [(row[0], row[1], row[2]) for row in tx.run("discover_lanes", {"queues": list(queues)})]


def finish(tx: Tx, worker_id: int, outcomes: Sequence[Finished]) -> int:
    """Store outcomes whose fence holds; return how many did."""
    jobs, states, results, payloads, tracebacks, runtimes, children = zip(*outcomes, strict=True)
    row = tx.row(
        "finish_tasks",
        {
            "ids": [job.id for job in jobs],
            "attempts": [job.attempt for job in jobs],
            "states": list(states),
            "results": list(results),
            "payloads": list(payloads),
            "tracebacks": list(tracebacks),
            "runtimes": list(runtimes),
            "children": list(children),
            "worker_id": worker_id,
        },
    )
    return row[0] if row else 0


def give_back(tx: Tx, worker_id: int, outcomes: Sequence[GivenBack]) -> int:
    """Put tasks back on their queues where their fence holds; return how many went."""
    columns = dict(zip(_GIVEN_BACK, (list(column) for column in zip(*outcomes, strict=True)), strict=True))
    jobs = columns.pop("jobs")
    row = tx.row(
        "give_back_tasks",
        {"ids": [job.id for job in jobs], "attempts": [job.attempt for job in jobs], "worker_id": worker_id, **columns},
    )
    return row[0] if row else 0


_GIVEN_BACK = (
    "jobs", "states", "retries", "etas", "countdowns", "queues", "args", "kwargs", "options", "payloads", "reasons",
    "errors", "tracebacks", "longest",
)  # fmt: skip


def accepted(tx: Tx, worker_id: int, ids: Sequence[uuid.UUID]) -> set[tuple[uuid.UUID, int]]:
    """Tell which starts of this worker have been accepted before."""
    return {(row[0], row[1]) for row in tx.run("accepted_outcomes", {"ids": list(ids), "worker_id": worker_id})}


def store_progress(tx: Tx, worker_id: int, job: Job, *, state: str, meta: str | None) -> bool:
    """Store a running task's custom state and its metadata (JSON); tell whether its fence held."""
    parameters = {"id": job.id, "attempt": job.attempt, "worker_id": worker_id, "state": state, "meta": meta}
    return bool(tx.run("store_progress", parameters))


def revoke(tx: Tx, ids: Sequence[uuid.UUID], *, cancel: str) -> int:
    """End waiting tasks, ask for the end of running ones (``cancel`` says how), remember unknown ids."""
    return len(tx.run("revoke_tasks", {"ids": list(ids), "cancel": cancel}))
