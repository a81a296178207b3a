"""Workers in the database: their leases, and the rescue of what they leave behind."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lavoro.store import offers
from lavoro.store.tx import Tx


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


EVER = 1e9
"""Seconds: as far back as there can be leases."""


class Cancellation(NamedTuple):
    """A running task that is to be ended."""

    id: uuid.UUID
    worker_id: int
    attempt: int
    how: str
    """The order that its process gets, as JSON."""


class Renewal(NamedTuple):
    """What a node learns when it renews its leases."""

    live: set[int]
    """The workers that still have one."""
    cancels: list[Cancellation]
    """The tasks of theirs that are to be ended."""
    expiry: float
    """Seconds until the first lease of somebody else runs out; negative if one has."""
    seen: dt.datetime | None
    """When, by the database's clock: who knows that may shorten the leases."""
    now: dt.datetime
    """The time of the database's clock."""


class Ending(NamedTuple):
    """How a worker ended, and with it what becomes of its tasks; made by one of the class methods."""

    reason: str
    suspects: tuple[uuid.UUID, ...] | None
    """The tasks that count a crash: those that ran, or had ended just before, stored or not. None: all that it held."""
    overdue: uuid.UUID | None = None
    """The task that ran past its hard time limit: it fails."""
    by_order: bool = False
    """Whether the worker had been told to stop: its tasks go back as if it had never claimed them."""
    told: str | None = None
    """The process, if its end has been logged: then only what becomes of its tasks is."""

    @classmethod
    def crashed(cls, reason: str, tasks: Iterable[uuid.UUID], *, told: str | None = None) -> Ending:
        """One of these tasks may have caused the end: each counts a crash."""
        return cls(reason, tuple(tasks), told=told)

    @classmethod
    def expired(cls, reason: str) -> Ending:
        """Its lease ran out, and nobody saw what it did: each of its tasks counts a crash."""
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


class Rescue(NamedTuple):
    """A worker that is gone, and how it ended."""

    worker_id: int
    ending: Ending


class Rescued(NamedTuple):
    """The result of the rescue of a worker's tasks."""

    reason: str
    """The reason as it is recorded, with the suspects."""
    waiting: int
    """The number of tasks that wait again."""
    ended: list[tuple[str, str, str, str]]
    """The tasks that have ended: name, id, type of the error and its message."""


def register(tx: Tx, registration: Registration) -> int:
    """Record a child and return its worker id."""
    row = tx.row("register_worker", registration._asdict())
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
    """Renew leases, and learn what else there is to know; leases that ran out are seen ``back`` seconds later.

    They last ``factor`` times as long as they were registered for. If that is shorter than before, it is done only if
    the last renewal was ``known``; others are told if ``shortening`` is possible.
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


def expire(
    tx: Tx,
    *,
    since: dt.datetime | None = None,
    latest: dt.datetime | None = None,
    answers_since: dt.datetime | None = None,
) -> tuple[int, str] | None:
    """End a lease that ran out; return the worker's id and its name, or None when there is none.

    It must not have moved for half of its length, counted by a clock that has run true ``since``. If that clock is past
    ``latest``, it was set ahead a moment ago, and nothing is ended. The database must have answered for half of a usual
    lease, ``answers_since``: within that time a node that lives renews what ran out in an outage.

    One at a time: a transaction that rescues one worker's tasks locks them in the order of their ids, one that went on
    to those of another would not.
    """
    row = tx.row("expire_lease", {"since": since, "latest": latest, "answers_since": answers_since})
    return (row[0], f"{row[1]}/{row[2]}") if row else None


def rescue(tx: Tx, rescue: Rescue, *, max_crashes: int) -> list[Rescued]:
    """End a worker and take its tasks; return up to two results, none if it held no task.

    To be run in one transaction with whatever ended the lease.
    """
    worker_id, ending = rescue
    tx.run("stop_worker", {"id": worker_id, "reason": ending.reason})
    offers.withdraw(tx, worker_id)  # before: a task that a call is just assigning must be there to be rescued
    parameters = {
        "worker_id": worker_id,
        "reason": ending.reason,
        "suspects": None if ending.suspects is None else list(ending.suspects),
        "overdue": ending.overdue,
        "by_order": ending.by_order,
        "max_crashes": max_crashes,
    }
    # Twice: a row that a revoke or progress changed while the first statement waited for it is found by the second.
    rows = [tx.row("rescue_tasks", parameters) for _ in range(2)]
    parts = [Rescued(row[0], row[1], [tuple(task) for task in row[2]]) for row in rows if row is not None]
    return [part for part in parts if part.waiting or part.ended]


def of_orphans(tx: Tx, *, ever: bool = True) -> list[int]:
    """List the workers of orphans: they hold tasks without a lease; unless ``ever``, only if one was ended lately."""
    return [row[0] for row in tx.run("workers_of_orphans", {"ever": ever})]


def acquire_leadership(tx: Tx, name: str, *, holder: str, seconds: float) -> int | None:
    """Let a node alone do a part of the upkeep for all, for so many seconds; return its term, None if another leads."""
    row = tx.row("acquire_leadership", {"name": name, "holder": holder, "seconds": seconds})
    return row[0] if row else None


def forget_old(tx: Tx, *, kept: float | None) -> tuple[int, int]:
    """Delete old revokes, and workers that stopped more than ``kept`` seconds ago (None: none); return how many."""
    row = tx.row("forget_old", {"kept": kept})
    return (row[0], row[1]) if row else (0, 0)
