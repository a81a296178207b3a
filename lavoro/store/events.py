"""Reads what monitors have not been told: changes of tasks, live nodes, and the events that code sends."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Mapping
from typing import NamedTuple

from lavoro.store.tx import Tx

MOST = 1_000
"""Most rows of each kind that one look reads."""
LONGEST = 100_000
"""Characters of arguments and of a result that are read; longer ones are not shown."""
NO_ID = uuid.UUID(int=0)


class Change(NamedTuple):
    """One row that a monitor has not been told of; its kind says which fields it has."""

    kind: str
    """``running``, ``ended``, ``attempt`` (a start that ended without an outcome), ``waiting``, ``event``, ``gone`` (a
    known task that runs no more) or ``now``."""
    id: uuid.UUID
    attempt: int
    at: float
    """The time of the change, in seconds of the epoch."""
    active: bool
    """Whether it has begun, as far as the slots of its process tell."""
    started: float | None
    """When it was claimed."""
    created: float
    name: str
    """Of an event of code: its type."""
    args: str | None
    """JSON; of an event of code: its fields."""
    kwargs: str | None
    options: str | None
    packed: bool
    """Whether its arguments are in another serializer."""
    queue: str
    retries: int
    due: dt.datetime | None
    """Of a task that was sent for a later time."""
    expires: dt.datetime | None
    node: str | None
    pid: int | None
    state: str | None
    result: str | None
    traceback: str | None
    runtime: float | None

    @property
    def key(self) -> tuple[uuid.UUID, int]:
        """The key of the row among all that the monitor is told."""
        match self.kind:
            case "ended":
                return self.id, round(self.at * 1_000_000)
            case "attempt":
                return self.id, -self.attempt
            case "event":
                return NO_ID, int(self.result or 0)
        return self.id, 0


class Node(NamedTuple):
    """A node that lives."""

    name: str
    host: str
    pid: int
    """The process id of its first process."""
    release: str
    task_events: bool
    active: int
    """The number of tasks that run."""
    at: float
    """The time of the database."""


class Position(NamedTuple):
    """The rows that a monitor has been told."""

    known: Mapping[tuple[uuid.UUID, int], bool]
    """The tasks that run, by id and attempt, and whether it was told that they have begun."""
    told: Collection[tuple[uuid.UUID, int]]
    """The keys of other rows, as far back as they are read."""
    ended_since: float
    tried_since: float
    events_since: float
    sent: tuple[uuid.UUID, uuid.UUID]
    """The first id to be read of waiting tasks, and the one after the last."""


def changes(tx: Tx, position: Position) -> list[Change]:
    """Read all changes after a position in one snapshot; the last one has only the time of the database."""
    known, told = list(position.known), list(position.told)
    rows = tx.run(
        "list_changes",
        {
            "known": [id for id, _ in known], "known_attempts": [attempt for _, attempt in known],
            "known_begun": list(position.known.values()),
            "told": [id for id, _ in told], "told_numbers": [number for _, number in told],
            "ended_since": position.ended_since, "tried_since": position.tried_since,
            "events_since": position.events_since, "sent_from": position.sent[0], "sent_until": position.sent[1],
            "most": MOST, "longest": LONGEST,
        },
    )  # fmt: skip
    return [Change._make(row) for row in rows]


def nodes(tx: Tx) -> list[Node]:
    """List the nodes that live."""
    return [Node._make(row) for row in tx.run("list_event_nodes")]


def send(tx: Tx, type: str, fields: str) -> bool:
    """Store an event of code, with its fields as JSON, if a monitor listens; return whether one does."""
    return tx.row("send_event", {"type": type, "fields": fields}) is not None


def forget(tx: Tx) -> None:
    """Delete events that monitors have read."""
    tx.execute("forget_events")


def mark(tx: Tx, *, node: str, on: bool) -> None:
    """Say whether monitors are told of the tasks of a node."""
    tx.execute("mark_task_events", {"node": node, "on": on})
