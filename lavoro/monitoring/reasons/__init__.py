"""Says in one sentence why a task waits, is held or runs, or how it ended."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from lavoro.store.results import StoredTask
from lavoro.store.statements import read, render, without_comments
from lavoro.store.tx import Row, Tx
from lavoro.text.commands import command
from lavoro.text.plural import counted
from lavoro.text.printable import cut

_QUERIES = read(Path(__file__).parent)
COUNTED = 10_000
"""Most earlier tasks of a queue that are counted."""
NAMED = 5
"""Most tasks that the sentence names."""
MESSAGE = 300
"""Characters of an error's message."""


class Server(NamedTuple):
    """A live process that serves the task's queue."""

    node: str
    quiet: bool
    slots: int
    running: int
    knows: bool
    """Whether its application has a task of that name."""


def why(tx: Tx, id: uuid.UUID, task: StoredTask) -> str:
    """Return the sentence for a task that was read in this transaction, with a command where one helps."""
    if task.stage == "finished":
        return f"ended as {task.state}{_error(task)}"
    if task.stage == "running":
        return _runs(tx, task)
    return _held(tx, id) if task.stage == "held" else _waits(tx, id, task)


def _error(task: StoredTask) -> str:
    """Return the class and the message of the stored exception; nothing of a success."""
    try:
        found = json.loads(task.result or "null")
    except ValueError:
        return ""
    if task.state == "SUCCESS" or not isinstance(found, dict) or "exc_type" not in found:
        return ""
    said = found.get("exc_message")
    words = ", ".join(map(str, said)) if isinstance(said, list) else str(said or "")
    return cut(f": {found['exc_type']}{f': {words}' if words else ''}", MESSAGE)


def _runs(tx: Tx, task: StoredTask) -> str:
    [(now,)] = _rows(tx, "now")
    seconds = 0.0 if task.started is None else max(0.0, (now - task.started).total_seconds())
    told = ", and is told to end" if task.reason else ""
    return f"runs on {task.worker} (pid {task.pid}) for {seconds:.0f} s{told}"


def _held(tx: Tx, id: uuid.UUID) -> str:
    if limits := _rows(tx, "limit", id=id, most=NAMED):
        return _limited(*limits[0])
    found = _rows(tx, "members", id=id, most=NAMED + 1)
    end = f"end it with {command('task', 'revoke', str(id))}"
    if not found:
        return f"waits for a barrier that does not exist, and never starts: {end}"
    remaining, size = found[0][:2]
    left = [row[2:] for row in found if row[2] is not None]
    waits = f"waits for {remaining} of {counted(size, 'task')}"
    if len(left) < min(remaining, NAMED + 1):
        return f"{waits}, and {len(left)} of them exist: it never starts: {end}"
    named = ", ".join(f"{task} ({name}, {stage} on {queue})" for task, name, stage, queue in left[:NAMED])
    return f"{waits}: {named}{' and others' if remaining > NAMED else ''}"


def _limited(
    key: str, running: int | None, taken: int, rate: int | None, per: float | None, paused: float | None,
    holders: list[str],
) -> str:  # fmt: skip
    waits = f"waits for the limit {key!r}"
    if paused:
        return f"{waits}, which is paused for {paused:.0f} s more"
    if running is not None and taken >= running:
        named = ", ".join(holders) + (" and others" if taken > len(holders) else "")
        return f"{waits}: {taken} of {counted(running, 'task')} run{f' ({named})' if holders else ''}"
    if rate is not None:
        return f"{waits}: {counted(rate, 'task')} may start in {per:g} s"
    return f"{waits}, which has room: a worker takes it within a minute"


def _waits(tx: Tx, id: uuid.UUID, task: StoredTask) -> str:
    found = _rows(tx, "call", id=id, most=COUNTED)
    if not found:
        return "has just left the queue: ask again"
    [(seconds, due, revoked, paused, earlier)] = found
    servers = [Server._make(row) for row in _rows(tx, "workers", queue=task.queue, task=task.name)]
    obstacle = _obstacle(task, servers)
    if revoked:
        return "is revoked: a worker ends it instead of running it"
    if paused is not None:
        return f"the queue {task.queue} has been paused for {paused:.0f} s: {command('queue', 'resume', task.queue)}"
    if obstacle:
        return f"{obstacle}{_before(task)}"
    if seconds > 0:
        return f"is due in {seconds:.0f} s, at {due:%Y-%m-%d %H:%M:%S %Z}{_before(task)}"
    return f"{_full(servers)}{_earlier(earlier)}{_before(task)}"


def _obstacle(task: StoredTask, servers: list[Server]) -> str:
    """Tell why no live worker can run the task; nothing if one can."""
    if not servers:
        return f"no live worker serves the queue {task.queue}: {command('worker', '-Q', task.queue)}"
    awake = [server for server in servers if not server.quiet]
    if not awake:
        nodes = _nodes(servers)
        resume = command("control", "-d", nodes.replace(", ", ","), "resume")
        return f"the workers of the queue {task.queue} are quiet, and claim nothing ({nodes}): {resume}"
    if not any(server.knows for server in awake):
        return f"no live worker of the queue {task.queue} has a task {task.name!r}: start one that has it"
    return ""


def _full(servers: list[Server]) -> str:
    awake = [server for server in servers if not server.quiet]
    slots, running = sum(server.slots for server in awake), sum(server.running for server in awake)
    if running >= slots:
        return f"waits for a free slot: {counted(running, 'task is', 'tasks are')} on the {slots} of {_nodes(awake)}"
    return f"waits for {_nodes(awake)}"


def _earlier(count: int) -> str:
    if count >= COUNTED:
        return f"; {COUNTED:,} or more tasks of its queue come first"
    return f"; {counted(count, 'task of its queue comes', 'tasks of its queue come')} first" if count else ""


def _before(task: StoredTask) -> str:
    """Tell of the end of the start before."""
    return f"; its last start: {cut(task.reason, MESSAGE)}" if task.reason else ""


def _nodes(servers: list[Server]) -> str:
    return ", ".join(sorted({server.node for server in servers}))


def _rows(tx: Tx, query: str, **parameters: Any) -> list[Row]:
    text = render(without_comments(_QUERIES[query]), tx.schema).encode()
    return tx.cursor.execute(text, parameters).fetchall()
