"""Queues for people: counts their tasks, pauses, resumes and purges them."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from lavoro.store.arrays import texts
from lavoro.store.database import Database
from lavoro.store.errors import translated
from lavoro.store.notifications import Back, write
from lavoro.store.schema.tables import tables_of
from lavoro.store.tx import Tx
from lavoro.text.plural import counted

SHOWN = 5
"""Names of tasks that a purge tells of."""


class QueueStatus(NamedTuple):
    """One line of ``lavoro status``."""

    queue: str
    ready: int
    """Waiting and due."""
    scheduled: int
    """Waiting for a later time."""
    running: int
    oldest: float | None
    """Seconds for which the oldest due task has waited."""
    paused: bool
    served: bool
    """Whether a live worker takes tasks from it."""
    held: int = 0
    """Until other tasks have ended."""


class Purged(NamedTuple):
    """The tasks that a purge deleted, and those that fail with them."""

    deleted: int
    """Tasks that waited or were held."""
    failing: dict[str, int]
    """Held tasks of other queues that fail with them, by name, the most first."""


class WorkerStatus(NamedTuple):
    """One live child process of a worker."""

    node: str
    process: int
    host: str
    pid: int
    pool: str
    slots: int
    queues: list[str]
    running: int
    started: dt.datetime
    seen: float
    """Seconds since its lease was renewed."""
    silent: float
    """The same, without those for which an idle worker, whose lease is longer, is silent anyway."""
    quiet: bool
    """Whether it claims nothing for the time being."""


def queue_status(database: Database) -> list[QueueStatus]:
    """Count the waiting and running tasks, queue by queue."""
    t = tables_of(database.schema)
    now, due_at = sa.func.clock_timestamp(), t.waiting.c.due_at
    waiting = sa.select(
        t.waiting.c.queue,
        sa.func.count().filter(due_at <= now).label("ready"),
        sa.func.count().filter(due_at > now).label("scheduled"),
        sa.func.extract("epoch", now - sa.func.min(due_at).filter(due_at <= now)).label("oldest"),
    ).group_by(t.waiting.c.queue)
    running = sa.select(t.running.c.queue, sa.func.count()).group_by(t.running.c.queue)
    held = sa.select(t.held.c.queue, sa.func.count()).group_by(t.held.c.queue)
    with translated(), database.engine.connect() as connection:
        counts: dict[str, list[Any]] = {}
        for queue, ready, scheduled, oldest in connection.execute(waiting):
            counts[queue] = [ready, scheduled, 0, float(oldest) if oldest is not None else None]
        for queue, count in connection.execute(running):
            counts.setdefault(queue, [0, 0, 0, None])[2] = count
        holding = {row[0]: row[1] for row in connection.execute(held)}
    stopped, known = paused_and_served(database)
    for queue in stopped | set(holding):
        counts.setdefault(queue, [0, 0, 0, None])
    return [
        QueueStatus._make((queue, *counts[queue], queue in stopped, queue in known, holding.get(queue, 0)))
        for queue in sorted(counts)
    ]


def worker_status(database: Database) -> list[WorkerStatus]:
    """List the live workers with their running tasks."""
    t = tables_of(database.schema)
    w, r = t.worker.c, t.running.c
    running = sa.select(sa.func.count()).where(r.worker_id == w.id).scalar_subquery()
    seen = sa.func.extract("epoch", sa.func.clock_timestamp() - w.seen_at)
    longer = sa.func.extract("epoch", w.expires_at - w.seen_at - w.lease)
    query = (
        sa.select(
            w.node, w.process, w.host, w.pid, w.pool, w.slots, w.queues, running, w.started_at, seen, seen - longer / 2,
            w.quiet,
        )
        .where(*_alive(w))
        .order_by(w.node, w.process)
    )  # fmt: skip
    with translated(), database.engine.connect() as connection:
        return [
            WorkerStatus._make((*row[:9], float(row[9]), max(0.0, float(row[10])), row[11]))
            for row in connection.execute(query)
        ]


def workers_of(database: Database, queue: str) -> tuple[list[str], bool]:
    """Return the nodes of the live workers that serve a queue, quiet ones left out, and whether it is paused."""
    t = tables_of(database.schema)
    nodes = (
        sa.select(t.worker.c.node)
        .distinct()
        .where(*_alive(t.worker.c), ~t.worker.c.quiet, sa.literal(queue) == sa.any_(t.worker.c.queues))
    )
    paused = sa.select(t.queue.c.paused_at.is_not(None)).where(t.queue.c.name == queue)
    with translated(), database.engine.connect() as connection:
        return sorted(connection.scalars(nodes)), bool(connection.scalar(paused))


def _alive(worker: Any) -> tuple[Any, ...]:
    """Return the conditions for a worker whose lease runs."""
    return worker.stopped_at.is_(None), worker.expires_at > sa.func.clock_timestamp()


def paused_and_served(database: Database) -> tuple[set[str], set[str]]:
    """Return the queues that are paused, and those that live workers serve, quiet ones left out."""
    t = tables_of(database.schema)
    paused = sa.select(t.queue.c.name).where(t.queue.c.paused_at.is_not(None))
    served = sa.select(sa.func.unnest(t.worker.c.queues)).where(*_alive(t.worker.c), ~t.worker.c.quiet)
    with translated(), database.engine.connect() as connection:
        return set(connection.scalars(paused)), set(connection.scalars(served))


def pause(database: Database, names: Sequence[str]) -> None:
    """Let no more tasks of these queues start."""
    if not names:
        return
    t = tables_of(database.schema)
    upsert = insert(t.queue).values([{"name": name, "paused_at": sa.func.now()} for name in set(names)])
    with translated(), database.engine.connect() as connection:
        connection.execute(upsert.on_conflict_do_update(index_elements=["name"], set_={"paused_at": sa.func.now()}))


def resume(database: Database, names: Sequence[str]) -> None:
    """Let tasks of these queues start again."""
    t = tables_of(database.schema)
    wake = sa.select(sa.func.pg_notify(f"{database.schema}_wake", sa.literal(write(Back(""))) + t.queue.c.name))
    with translated(), database.engine.connect() as connection:
        connection.execute(t.queue.update().where(t.queue.c.name.in_(names)).values(paused_at=None))
        connection.execute(wake.where(t.queue.c.name.in_(names)))  # tasks may wait below the claimers' lower bounds


def purge(database: Database, names: Sequence[str]) -> Purged:
    """Delete the waiting and held tasks of these queues."""
    parameters = {"queues": texts(names)}
    with _patient(database) as tx:
        failing = _held_behind(tx, names)
        deleted = sum(tx.run(statement, parameters)[0][0] for statement in ("purge_held", "purge_tasks"))
    return Purged(deleted, failing)


def held_behind(database: Database, names: Sequence[str]) -> dict[str, int]:
    """Count the held tasks of other queues that fail if these queues are purged, by name, the most first."""
    with _patient(database) as tx:
        return _held_behind(tx, names)


def _held_behind(tx: Tx, names: Sequence[str]) -> dict[str, int]:
    return {row[0]: row[1] for row in tx.run("held_behind_queues", {"queues": texts(names)})}


def failing_with_them(failing: dict[str, int]) -> str:
    """Write which held tasks fail with those of a purge; nothing if none does."""
    if not failing:
        return ""
    shown = [f"{count:,} x {name}" for name, count in list(failing.items())[:SHOWN]]
    more = [counted(len(failing) - SHOWN, "other name")] if len(failing) > SHOWN else []
    what = counted(sum(failing.values()), "task that waits", "tasks that wait")
    return f"; {what} for them elsewhere {'fails' if sum(failing.values()) == 1 else 'fail'}: {', '.join(shown + more)}"


@contextlib.contextmanager
def _patient(database: Database) -> Iterator[Tx]:
    """Yield a connection without a deadline: there may be millions of tasks."""
    with translated(), database.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.patience = math.inf
        connection.detach()  # the next user of the connection needs a deadline again
        yield Tx(driver, database.schema)
