"""Reads the database for one monitor, and returns the events since the last look, in their order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from lavoro.events.event import Told, utcoffset
from lavoro.events.heartbeats import FREQUENCY, Heartbeats
from lavoro.events.memory import Memory
from lavoro.events.telling import Teller
from lavoro.store import events
from lavoro.store.events import NO_ID, Change, Node, Position
from lavoro.store.tx import Tx

_NOTHING = Position({}, (), float("inf"), float("inf"), float("inf"), (NO_ID, NO_ID))


class Feed:
    """The events of one monitor, from its first look on."""

    def __init__(self, app: Any) -> None:
        self._app = app
        sent = bool(app.conf["task_send_sent_event"])
        self._teller, self._sent = Teller(app, sent=sent), sent
        self._memory: Memory | None = None
        self._heartbeats, self._beat = Heartbeats(), 0.0
        self.more = False
        """Whether there is more to read at once."""

    def look(self) -> list[Told]:
        """Return the events since the last look; the first look returns one for each live node."""
        memory, changes = self._memory, []
        with self._app.database.tx() as tx:
            nodes = self._nodes(tx)
            if memory is None:
                self._begin(tx)
            else:
                changes = events.changes(tx, memory.position)
        found = [] if nodes is None else list(self._heartbeats.tell(nodes, nodes[0].at if nodes else time.time()))
        if memory is not None:
            found += self._of_tasks(memory, changes)
        found.sort(key=lambda event: event["timestamp"])
        offset = utcoffset()
        return [{"utcoffset": offset, **event} for event in found]

    def _begin(self, tx: Tx) -> None:
        changes = events.changes(tx, _NOTHING)
        memory = Memory(changes[-1].at, sent=self._sent)
        while memory.began_with(changes):
            changes = events.changes(tx, memory.position)
        self._memory = memory

    def _nodes(self, tx: Tx) -> list[Node] | None:
        """Return the live nodes if it is time for a heartbeat."""
        now = time.monotonic()
        if now < self._beat:
            return None
        self._beat = now + FREQUENCY
        return events.nodes(tx)

    def _of_tasks(self, memory: Memory, changes: list[Change]) -> list[Told]:
        *changes, last = changes
        found = [event for change in _in_order(changes) for event in self._told(change, memory, last.at)]
        self.more = memory.move(changes, last.at)
        return found

    def _told(self, change: Change, memory: Memory, now: float) -> Iterator[Told]:
        if change.kind != "gone":
            seen = memory.seen(change)
            yield from self._teller.tell(change, seen, node=self._heartbeats.any_node, now=now)
        if change.kind == "ended" and change.node is not None:
            self._heartbeats.processed[change.node] += 1
        memory.note(change)


_ORDER = {kind: place for place, kind in enumerate(("waiting", "attempt", "running", "ended", "event", "gone"))}


def _in_order(changes: list[Change]) -> list[Change]:
    return sorted(changes, key=lambda change: _ORDER[change.kind])
