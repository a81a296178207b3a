"""Workers in the database: their leases, and the rescue of their tasks."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lavoro.store import offers
from lavoro.store.tx import Tx


class Registration(NamedTuple):
    """The facts of a child process that are stored with its lease."""

    node: str
    process: int
    host: str
    pid: int
    pool: str
    slots: int
    queues: list[str]
    release: str
    lease: float
    tasks: Sequence[str] = ()
    """The names of the tasks that it has registered."""
    runs_schedules: bool = False
    """Whether its node sends the tasks of schedules."""
    task_events: bool = False
    """Whether monitors are told of its tasks."""


EVER = 1e9
"""Seconds; no lease is older."""


class Cancellation(NamedTuple):
    """A cancelled task."""

    id: uuid.UUID
    worker_id: int
    attempt: int
    how: str
    """The options of the order that its process gets, as JSON."""


class Renewal(NamedTuple):
    """The answer to a renewal of leases."""

    live: set[int]
    """The workers that still have one."""
    cancels: list[Cancellation]
    """The tasks of theirs that are to be ended."""
    expiry: float
    """Seconds until the first lease of another node expires; negative if one has."""
    seen: dt.datetime | None
    """The time of this renewal, by the database's clock; a later one that shortens the leases has to name it."""
    now: dt.datetime
    """The time of the database's clock."""


class Ending(NamedTuple):
    """How a worker ended, which decides what happens to its tasks; made by one of the class methods."""

    reason: str
    suspects: tuple[uuid.UUID, ...] | None
    """The tasks that count a crash: those that ran, or had ended just before, stored or not. None: all its tasks."""
    overdue: uuid.UUID | None = None
    """The task that ran past its hard time limit: it fails."""
    by_order: bool = False
    """Whether the worker had been told to stop: its tasks are requeued as if it had never claimed them."""
    told: str | None = None
    """The name of the process, if its end was logged: then only the end of its tasks is logged here."""

    @classmethod
    def crashed(cls, reason: str, tasks: Iterable[uuid.UUID], *, told: str | None = None) -> Ending:
        """One of these tasks may have caused the end: each counts a crash."""
        return cls(reason, tuple(tasks), told=told)

    @classmethod
    def expired(cls, reason: str) -> Ending:
        """Its lease expired, and nothing tells which tasks had begun: each of its tasks counts a crash."""
        return cls(reason, None)

    @classmethod
    def timed_out(cls, task: uuid.UUID) -> Ending:
        """A task ran past its hard time limit: it fails, and no other task counts a crash."""
        return cls("the task ran past its hard time limit", (), overdue=task)

    @classmethod
    def fenced(cls, reason: str) -> Ending:
        """It was ended for a reason that no task has caused: none counts a crash, each start counts."""
        return cls(reason, ())

    @classmethod
    def stopped(cls, reason: str) -> Ending:
        """It was told to stop: no start counts."""
        return cls(reason, (), by_order=True)


class Left(NamedTuple):
    """The tasks that wait on the queues of workers that end, and how many of their own have failed."""

    due: int
    later: int
    paused: int
    failed: int


class Rescue(NamedTuple):
    """A worker that is gone, and how it ended."""

    worker_id: int
    ending: Ending


class Rescued(NamedTuple):
    """The result of the rescue of a worker's tasks."""

    reason: str
    """The reason as it is stored, with up to three of the suspects."""
    waiting: int
    """The number of tasks that wait again."""
    ended: list[tuple[str, str, str, str]]
    """The tasks that have ended: name, id, type of the error and its message."""


def register(tx: Tx, registration: Registration) -> int:
    """Record a child and return its worker id."""
    row = tx.row("register_worker", {**registration._asdict(), "tasks": list(registration.tasks)})
    assert row is not None
    return int(row[0])


def renew(
    tx: Tx,
    worker_ids: Sequence[int],
    *,
    back: float = EVER,
    factor: float = 1.0,
    known: dt.datetime | None = None,
    shortening: bool = False,
) -> Renewal:
    """Renew leases, and read cancelled tasks and expiries; leases that expired up to ``back`` seconds ago are seen.

    They last ``factor`` times as long as they were registered for. A renewal that shortens them needs the last one as
    ``known``; other nodes are notified if ``shortening`` is possible.
    """
    parameters = {"ids": list(worker_ids), "back": back, "factor": factor, "known": known, "shortening": shortening}
    rows = tx.run("renew_leases", parameters)
    return Renewal(
        {row[1] for row in rows if row[0] == "renewed"},
        [Cancellation(row[2], row[1], row[3], row[4]) for row in rows if row[0] == "cancel"],
        next((row[5] for row in rows if row[0] == "expires"), math.inf),
        next((row[6] for row in rows if row[0] == "renewed"), None),
        next(row[6] for row in rows if row[0] == "clock"),
    )


def mark_quiet(tx: Tx, *, worker_ids: Sequence[int], quiet: bool) -> None:
    """Let others see whether workers claim nothing for the time being."""
    tx.execute("mark_quiet", {"ids": list(worker_ids), "quiet": quiet})


def serve(tx: Tx, worker_id: int, queues: Sequence[str]) -> None:
    """Let others see which queues a worker serves from now on."""
    tx.execute("serve_queues", {"id": worker_id, "queues": list(queues)})


def resize(tx: Tx, *, worker_id: int, slots: int) -> None:
    """Let others see how many slots a worker has from now on."""
    tx.execute("resize_worker", {"id": worker_id, "slots": slots})


def expire(
    tx: Tx,
    *,
    since: dt.datetime | None = None,
    latest: dt.datetime | None = None,
    answers_since: dt.datetime | None = None,
) -> tuple[int, str] | None:
    """End an expired lease; return the worker's id and its name, or None if there is none.

    It must not have moved for half of its length, counted by a clock that has run true ``since``. If that clock is past
    ``latest``, it was set ahead a moment ago, and nothing is ended. The database must have answered for half of a usual
    lease, ``answers_since``: within that time a live node renews leases that expired in an outage.

    One at a time: a transaction locks the tasks of one worker in the order of their ids; with those of a second worker
    it would not.
    """
    row = tx.row("expire_lease", {"since": since, "latest": latest, "answers_since": answers_since})
    return (row[0], f"{row[1]}/{row[2]}") if row else None


def rescue(tx: Tx, rescue: Rescue, *, max_crashes: int) -> list[Rescued]:
    """End a worker and take its tasks; return up to two results, none if it held no task.

    Call it in the transaction that ended the lease.
    """
    worker_id, ending = rescue
    tx.run("stop_worker", {"id": worker_id, "reason": ending.reason})
    offers.withdraw(tx, worker_id)  # before the rescue, so that it finds a task that a call is just assigning
    parameters = {
        "worker_id": worker_id,
        "reason": ending.reason,
        "suspects": None if ending.suspects is None else list(ending.suspects),
        "overdue": ending.overdue,
        "by_order": ending.by_order,
        "max_crashes": max_crashes,
    }
    # Twice: the second finds rows that a revoke or progress changed while the first statement waited for them.
    rows = [tx.row("rescue_tasks", parameters) for _ in range(2)]
    parts = [Rescued(row[0], row[1], [tuple(task) for task in row[2]]) for row in rows if row is not None]
    return [part for part in parts if part.waiting or part.ended]


def of_orphans(tx: Tx, *, ever: bool = True) -> list[int]:
    """List the workers of orphans: they hold tasks without a lease; unless ``ever``, only if one was ended lately."""
    return [row[0] for row in tx.run("workers_of_orphans", {"ever": ever})]


def left_by(tx: Tx, worker_ids: Sequence[int], *, queues: Sequence[str]) -> Left:
    """Count what workers leave on these queues, and their tasks that have failed."""
    row = tx.row("left_by_workers", {"ids": list(worker_ids), "queues": list(queues)})
    assert row is not None
    return Left._make(row)


def acquire_leadership(tx: Tx, name: str, *, holder: str, seconds: float) -> int | None:
    """Let a node alone do a part of the upkeep for all, for so many seconds; return its term, None if another leads."""
    row = tx.row("acquire_leadership", {"name": name, "holder": holder, "seconds": seconds})
    return row[0] if row else None


def renew_leadership(tx: Tx, name: str, *, term: int, seconds: float) -> bool:
    """Lead for so many seconds more, or with 0 no longer; return False if the term was over before."""
    return tx.row("renew_leadership", {"name": name, "term": term, "seconds": seconds}) is not None


def leader_of(tx: Tx, name: str) -> str | None:
    """Return the one that leads now, None if nothing does."""
    row = tx.row("find_leader", {"name": name})
    return row[0] if row else None


def forget_old(tx: Tx, *, kept: float | None) -> tuple[int, int]:
    """Delete old revokes, and workers that stopped more than ``kept`` seconds ago (None: none); return how many."""
    row = tx.row("forget_old", {"kept": kept})
    return (row[0], row[1]) if row else (0, 0)
