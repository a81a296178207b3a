"""Commands to nodes and their replies, and the tasks that the nodes have claimed."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lavoro.protocol.ids import task_uuid
from lavoro.store.tx import Tx
from lavoro.text.printable import described

LONGEST = 4 << 20
"""Characters of a reply."""


class Command(NamedTuple):
    """A command that a node has taken."""

    id: int
    name: str
    arguments: dict[str, Any]
    sender: str
    seconds: float
    """Until it expires."""


class Reply(NamedTuple):
    """The reply of one node to a command, or that it has none yet."""

    node: str
    value: Any
    """The value that its JSON holds."""
    given: bool
    lives: bool
    """Whether a process of the node has a lease, so that a reply may come."""


class Process(NamedTuple):
    """One live process of a node."""

    node: str
    number: int
    pid: int
    pool: str
    slots: int
    queues: list[str]
    tasks: list[str]
    quiet: bool
    uptime: float


class Listed(NamedTuple):
    """A task under the node that has claimed it, or under one of those that serve its queue."""

    node: str
    id: uuid.UUID
    name: str
    args: str | None
    kwargs: str | None
    task_id: str | None
    """The id that the caller gave, if that is no UUID."""
    queue: str
    priority: int
    attempt: int


class InFlight(NamedTuple):
    """A task that a process has claimed."""

    task: Listed
    pid: int
    started: float
    active: bool
    """Whether it has begun, as far as the slots of its process tell."""


class Scheduled(NamedTuple):
    """A task for a later time."""

    task: Listed
    due: dt.datetime


LISTED = len(Listed._fields)


def send(
    tx: Tx, name: str, arguments: Mapping[str, Any], *, nodes: Sequence[str], sender: str, expires: float
) -> tuple[int | None, list[str]]:
    """Send a command to those of the nodes that live; return its id (None if none lives) and their names."""
    parameters = {"name": name, "arguments": json.dumps(arguments), "nodes": list(nodes)}
    rows = tx.run("send_command", {**parameters, "sender": sender, "expires": expires})
    return (rows[0][0] if rows else None), [row[1] for row in rows]


def take(tx: Tx, node: str) -> list[Command]:
    """Take the commands to a node."""
    rows = tx.run("take_commands", {"node": node})
    return [Command(id, name, json.loads(arguments), sender, seconds) for id, name, arguments, sender, seconds in rows]


def reply(tx: Tx, id: int, *, node: str, text: str) -> None:
    """Store a node's reply to a command, as JSON text."""
    tx.execute("reply_to_command", {"id": id, "node": node, "reply": text})


def as_json(value: Any) -> str:
    """Return a reply as JSON text: what JSON has not is shown as text, the whole value if need be."""
    try:
        text = json.dumps(value, default=described, allow_nan=False)
    except (TypeError, ValueError, RecursionError):  # other keys than texts, a number without a value, a circle
        text = json.dumps(described(value, LONGEST))
    if len(text) > LONGEST:
        return json.dumps({"error": f"the reply has {len(text):,} characters, more than {LONGEST:,}"})
    return text


def replies(tx: Tx, id: int) -> list[Reply]:
    """Return the replies to a command, those first that came first, and the nodes that have not replied."""
    rows = tx.run("fetch_replies", {"id": id})
    return [Reply(node, json.loads(text) if text else None, given, lives) for node, text, given, lives in rows]


def forget(tx: Tx, *, kept: float) -> None:
    """Delete commands that were sent more than so many seconds ago."""
    tx.execute("forget_commands", {"kept": kept})


def nodes(tx: Tx) -> list[str]:
    """Name the nodes that live."""
    return [row[0] for row in tx.run("node_names")]


def processes(tx: Tx) -> list[Process]:
    """List the processes of all nodes that live."""
    return [Process._make(row) for row in tx.run("live_nodes")]


def in_flight(tx: Tx) -> tuple[list[str], list[InFlight]]:
    """Return the live nodes, and the tasks that they have claimed: by one statement, so as of one moment."""
    rows = tx.run("list_in_flight")
    nodes = dict.fromkeys(row[0] for row in rows)
    return list(nodes), [InFlight(Listed._make(row[:LISTED]), *row[LISTED:]) for row in rows if row[1] is not None]


def scheduled(tx: Tx, *, most: int) -> list[Scheduled]:
    """List the tasks for later, the next first, at most so many."""
    rows = tx.run("list_scheduled", {"most": most})
    return [Scheduled(Listed._make(row[:LISTED]), *row[LISTED:]) for row in rows]


def revoked(tx: Tx) -> list[str]:
    """List the ids that are remembered as revoked."""
    return [str(row[0]) for row in tx.run("list_revoked")]


def allow(tx: Tx, id: str) -> None:
    """Let a task start that was revoked before it came."""
    tx.execute("allow_task", {"id": task_uuid(id)})
