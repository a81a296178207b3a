"""Steps of a task's walk through the tables, short enough to be read in a test."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

import psycopg

from lavoro.protocol import outcome
from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Job, Message
from lavoro.protocol.outcome import Finished
from lavoro.store import tasks, workers
from lavoro.store.results import StoredTask, fetch
from lavoro.store.tasks import Lane
from lavoro.store.tx import Tx
from lavoro.store.workers import Registration

LONG_AGO = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
WORKER = 1


def message(**changes: Any) -> Message:
    """A message as the default options make it."""
    plain = Message(uuid7(), "test.add", "celery", 0, 0, None, 0.0, None, None, "[1,2]", None, None, None)
    return plain._replace(**changes)


def send(tx: Tx, **changes: Any) -> uuid.UUID:
    """Store one message and return its id."""
    sent = message(**changes)
    tasks.insert(tx, [sent])
    return sent.id


def lane(queue: str = "celery", priority: int = 0, bound: dt.datetime = LONG_AGO) -> Lane:
    return Lane(queue, priority, bound)


def take(tx: Tx, *lanes: Lane, limit: int = 100, worker_id: int = WORKER) -> list[Job]:
    return tasks.claim(tx, worker_id, lanes=lanes or [lane()], limit=limit)


def sent_and_taken(tx: Tx, *, worker_id: int = WORKER, **changes: Any) -> Job:
    """A job that has just been claimed."""
    id = send(tx, **changes)
    place = lane(changes.get("queue", "celery"), changes.get("priority", 0))
    [job] = take(tx, place, worker_id=worker_id)
    assert job.id == id
    return job


def succeeded(job: Job, result: str | None = "3") -> Finished:
    return outcome.succeeded(job, result, 0.25)


def stage_of(tx: Tx, id: uuid.UUID) -> str | None:
    found = fetch(tx, id)
    return found.stage if found else None


def stored(tx: Tx, id: uuid.UUID) -> StoredTask:
    found = fetch(tx, id)
    assert found is not None
    return found


def rows(tx: Tx, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    return tx.cursor.execute(query.encode(), parameters or None).fetchall()


def value(tx: Tx, query: str, *parameters: object) -> Any:
    [[found]] = rows(tx, query, *parameters)
    return found


def heard(listener: psycopg.Connection[Any], channel: str = "lavoro_wake") -> list[str]:
    """What a listening connection was notified of until now: all that comes before the mark that it sends itself."""
    mark, found = str(uuid.uuid4()), list[str]()
    listener.execute("select pg_notify(%s, %s)", (channel, mark))
    for notification in listener.notifies(timeout=60):
        if notification.payload == mark:
            return found
        found.append(notification.payload)
    raise AssertionError("the mark was not heard")


def registered(tx: Tx, *, lease: float = 30.0, process: int = 0, queues: Sequence[str] = ("celery",)) -> int:
    """The id of a worker that has just got its lease."""
    return workers.register(
        tx, Registration("node@test", process, "test", 4711, "threads", 4, list(queues), "0.1.0", lease)
    )
