"""Remembers which rows a monitor was told of: each of the last second, because a row may be committed late."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from lavoro.events.telling import Seen
from lavoro.store.events import MOST, Change, Position

LOOKBACK = 1.0
"""Seconds that each look goes back behind the last one."""
SENT_KEPT = 50_000
"""Tasks of which it is remembered that their call was told."""
AHEAD = 3600.0
"""Seconds by which the clock of a sender may be ahead of the database's."""
_KINDS = ("ended", "attempt", "event")


class Memory:
    """The position of a monitor; it begins with a time of the database, before which nothing is told."""

    def __init__(self, now: float, *, sent: bool) -> None:
        self._begin, self._sent_too = now, sent
        self._known: dict[tuple[uuid.UUID, int], bool] = {}
        self._told: dict[tuple[uuid.UUID, int], tuple[str, float]] = {}
        self._since = dict.fromkeys(_KINDS, now)
        self._sent: OrderedDict[uuid.UUID, None] = OrderedDict()
        self._sent_from, self._now = _first_id(now), now

    @property
    def position(self) -> Position:
        """The rows to be read next."""
        first = self._sent_from
        until = _first_id(self._now + AHEAD) if self._sent_too else first
        told = [*self._told, *((id, 0) for id in reversed(self._sent) if id >= first)] if self._sent_too else self._told
        return Position(
            self._known, told, self._since["ended"], self._since["attempt"], self._since["event"], (first, until)
        )

    def seen(self, change: Change) -> Seen:
        """Return what was told of the task of a change."""
        if change.kind == "event":
            return Seen()
        key = change.id, change.attempt
        # Of a task that was sent before the monitor began, or is started again, the call is not told.
        sent = change.id in self._sent or change.created < self._begin or change.attempt > 1
        return Seen(sent, key in self._known, self._known.get(key, False))

    def began_with(self, changes: Iterable[Change]) -> bool:
        """Take in the tasks that ran already, of which only the end is told; return whether there may be more."""
        running = [change for change in changes if change.kind == "running"]
        self._known.update(((change.id, change.attempt), True) for change in running)
        return len(running) >= MOST

    def note(self, change: Change) -> None:
        """Take in that a change was told."""
        key = change.id, change.attempt
        if change.kind == "running":
            self._known[key] = change.active
        elif change.kind == "gone":
            self._known.pop(key, None)
        elif change.kind in _KINDS:
            self._told[change.key] = change.kind, change.at
        if change.kind not in ("gone", "event"):
            self._sent[change.id] = None

    def move(self, changes: Sequence[Change], now: float) -> bool:
        """Go on after a look; return whether there is more to read at once."""
        self._now, more = now, False
        for kind in _KINDS:
            times = sorted(change.at for change in changes if change.kind == kind)
            full = len(times) >= MOST
            until = min(times[MOST - 1], now - LOOKBACK) if full else now - LOOKBACK
            self._since[kind] = max(self._since[kind], until)
            more = more or full
        self._told = {key: (kind, at) for key, (kind, at) in self._told.items() if at >= self._since[kind]}
        waiting = [change.id for change in changes if change.kind == "waiting"]
        full = len(waiting) >= MOST
        self._sent_from = max(
            self._sent_from, min(_first_id(now - LOOKBACK), max(waiting)) if full else _first_id(now - LOOKBACK)
        )
        while len(self._sent) > SENT_KEPT:
            self._sent.popitem(last=False)
        return more or full or sum(change.kind == "running" for change in changes) >= MOST


def _first_id(at: float) -> uuid.UUID:
    """Return the lowest id that a sender makes at this time."""
    return uuid.UUID(int=(int(at * 1000) << 80) | (7 << 76) | (2 << 62))
