"""Reads and writes the outcomes of tasks."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from psycopg import pq

from lavoro.protocol.outcome import Finished
from lavoro.store.arrays import uuids
from lavoro.store.database import Database
from lavoro.store.errors import translated
from lavoro.store.schema.tables import tables_of
from lavoro.store.tx import Tx


class StoredTask(NamedTuple):
    """A task as it is in the database."""

    stage: str
    """waiting, held, running or finished."""
    state: str | None
    result: str | None
    """JSON text: the value, the exception of a failure, or the metadata of a custom state."""
    result_payload: bytes | None
    traceback: str | None
    name: str
    args: str | None
    kwargs: str | None
    options: str | None
    payload: bytes | None
    queue: str
    retries: int
    attempt: int
    worker_id: int | None
    worker: str | None
    pid: int | None
    """The process that runs it."""
    created: dt.datetime
    started: dt.datetime | None
    finished: dt.datetime | None
    runtime: float | None
    children: str | None
    """JSON array of the ids of the tasks it sent."""
    reason: str | None


class Ended(NamedTuple):
    """The outcome of a task that is over, with all that is told of it."""

    state: str
    result: str | None
    result_payload: bytes | None
    traceback: str | None
    children: str | None
    finished: dt.datetime | None
    """None where the task still runs, and has set a final state itself."""


_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.timezone.utc)
"""The beginning of PostgreSQL's times, which are microseconds."""


def fetch_outcome(tx: Tx, id: uuid.UUID) -> Ended | None:
    """Read the outcome of a finished task; None while it is not over."""
    found = tx.run_prepared("fetch_outcome", [id.bytes], (pq.Format.BINARY,), answer_format=pq.Format.BINARY)
    if not found.ntuples:
        return None
    state, result, payload, traceback, children, finished = (found.get_value(0, column) for column in range(6))
    assert state is not None
    assert finished is not None
    moment = _EPOCH + dt.timedelta(microseconds=int.from_bytes(finished, "big", signed=True))
    return Ended(state.decode(), _text(result), payload, _text(traceback), _text(children), moment)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def fetch(tx: Tx, id: uuid.UUID) -> StoredTask | None:
    """Find a task wherever it is; None when it is unknown or has expired."""
    row = tx.row("fetch_task", {"id": id})
    return StoredTask._make(row) if row else None


PAGE = 1000
"""Most outcomes in one answer: so the memory of a wait for many depends on their number only where they are kept."""


def states(tx: Tx, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the state of each of the tasks that is over; one statement, which reads no results."""
    return dict(tx.run("list_ended", {"ids": uuids(ids)})) if ids else {}


def outcomes(database: Database, ids: Sequence[uuid.UUID]) -> Iterator[dict[uuid.UUID, Ended]]:
    """Read the outcomes of those of the tasks that are over, a page of ids at a time."""
    for begin in range(0, len(ids), PAGE):
        with database.tx() as tx:
            rows = tx.run("fetch_outcomes", {"ids": uuids(ids[begin : begin + PAGE])})
        found: dict[uuid.UUID, Ended] = {}
        for id, *columns in rows:
            ended, other = Ended._make(columns), found.get(id)
            if other is None or _age(ended) > _age(other):
                found[id] = ended
        yield found


def _age(ended: Ended) -> dt.datetime:
    """Return the time by which the latest outcome of a reused id is found; an earlier end comes before a new start."""
    return ended.finished or dt.datetime.min.replace(tzinfo=dt.timezone.utc)


def forget(tx: Tx, *ids: uuid.UUID) -> set[uuid.UUID]:
    """Drop the outcomes of finished tasks; return the tasks that had one."""
    return {row[0] for row in tx.run("forget_tasks", {"ids": uuids(ids)})}


def report(tx: Tx, id: uuid.UUID, state: str, meta: str | None) -> bool:
    """Store a custom state with its metadata, JSON text, for a task that any worker runs; return whether one does."""
    return bool(tx.run("report_state", {"id": id, "state": state, "meta": meta}))


def store(database: Database, id: uuid.UUID, result: str, **columns: Any) -> None:
    """Store the outcome of a task that no worker runs, JSON text, in place of an earlier one; a success stays."""
    finished = tables_of(database.schema).finished
    of_this = finished.c.id == id
    with translated(), database.engine.begin() as connection:
        if connection.scalar(sa.select(sa.literal(True)).where(of_this, finished.c.state == "SUCCESS").limit(1)):
            return
        connection.execute(finished.delete().where(of_this))
        now = sa.func.clock_timestamp()
        usual = {"queue": "", "priority": 0, "attempt": 0, "retries": 0, "crashes": 0, "due_at": now, "created_at": now}
        connection.execute(finished.insert().values(id=id, result=_json(result), **{**usual, **columns}))


def store_finished(database: Database, ended: Finished) -> None:
    """Store the outcome of a task that ran in the calling process."""
    job = ended.job
    json = {"args": job.args, "kwargs": job.kwargs, "options": job.options, "children": ended.children}
    store(
        database, job.id, ended.result or "null", state=ended.state, result_payload=ended.payload,
        traceback=ended.traceback, runtime=ended.runtime, name=job.name, queue=job.queue, priority=job.priority,
        attempt=job.attempt, retries=job.retries, payload=job.payload,
        **{column: _json(text) for column, text in json.items() if text is not None},
    )  # fmt: skip


def _json(text: str) -> sa.Cast[Any]:
    return sa.cast(sa.literal(text, sa.Text()), sa.JSON())


class Attempt(NamedTuple):
    """One start of a task that did not end in its outcome being accepted: retried, refused or lost."""

    number: int
    state: str
    started: dt.datetime | None
    ended: dt.datetime
    worker: str | None
    reason: str | None
    error: str | None
    """The exception as JSON."""
    traceback: str | None


def attempts(tx: Tx, id: uuid.UUID) -> list[Attempt]:
    """List the starts of a task before the one that counted, oldest first."""
    return [Attempt._make(row) for row in tx.run("fetch_attempts", {"id": id})]
