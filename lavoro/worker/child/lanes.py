"""Lanes: the queues and priorities that have tasks, best first, and where in each of them a claim begins to look."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable

from lavoro.protocol.message import Job
from lavoro.store.tasks import Lane

LAG = dt.timedelta(seconds=0.02)
"""How far the lower bound of a lane trails its last claim: transactions that commit this late are still seen."""
EVERYTHING = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
REMEMBERED = 300.0
"""Seconds for which a lane stays known after its last task: claiming from an empty one costs a few microseconds."""
SWEEP = 2.0
"""Seconds between looks at whole lanes, without their lower bounds."""
CHEAP = 0.01
DUTY = 50
"""A look that took t seconds, more than CHEAP, is repeated after DUTY * t at the earliest: 2 % of the time."""


class Lanes:
    """What a claimer knows of its queues.

    Each lane has a lower bound that trails the last claim, so that the dead index entries of what was claimed before
    are not read again: under a held snapshot they cannot be cleaned up. The bound is a hint: looks below it, further
    back the rarer, catch what committed late or was given back.
    """

    def __init__(self, queues: Iterable[str]) -> None:
        self._queues = list(queues)
        self._seen: dict[tuple[str, int], float] = {}
        """The lanes known, best first, and when each last had a task."""
        self._bounds: dict[tuple[str, int], dt.datetime] = {}
        self._swept = self._sweep_cost = self._swept_back = 0.0

    def __contains__(self, lane: object) -> bool:
        return lane in self._seen

    def __len__(self) -> int:
        return len(self._seen)

    def remember(self, found: Iterable[tuple[str, int]]) -> bool:
        """Keep the lanes that have tasks, or had lately, in the order of claiming; tell whether one is new."""
        now, known = time.monotonic(), len(self._seen)
        self._seen.update(dict.fromkeys(found, now))
        new = len(self._seen) > known
        kept = [lane for lane, seen in self._seen.items() if now - seen < REMEMBERED]
        kept.sort(key=lambda lane: (-lane[1], self._queues.index(lane[0])))
        self._seen = {lane: self._seen[lane] for lane in kept}
        return new

    def forget_bounds(self) -> None:
        """Look at everything the next time. A claim that is under way moves the old bounds, not the new ones."""
        self._bounds = {}

    @property
    def sweep_due(self) -> bool:
        """Whether the next claim may look at whole lanes."""
        return may(self._swept, self._sweep_cost, at_least=SWEEP)

    def claim(self, run: Callable[[list[Lane]], list[Job]]) -> list[Job]:
        """Have a claim run on the lanes, and move their bounds to what it brought."""
        now, sweeping, bounds = time.monotonic(), self.sweep_due, self._bounds
        jobs = run(self._to_claim(now, sweeping=sweeping))
        if sweeping:
            self._swept, self._sweep_cost = now, time.monotonic() - now
        first = {(job.queue, job.priority): job.due for job in reversed(jobs)}
        bounds.update((lane, due - LAG) for lane, due in first.items())
        return jobs

    def _to_claim(self, now: float, *, sweeping: bool) -> list[Lane]:
        back = dt.timedelta(0)
        if sweeping:
            return [Lane(*lane, EVERYTHING) for lane in self._seen]
        if now - self._swept_back > 1:
            self._swept_back, back = now, dt.timedelta(seconds=1)
        return [Lane(*lane, self._bounds.get(lane, EVERYTHING + back) - back) for lane in self._seen]


def may(last: float, cost: float, *, at_least: float = 0.0) -> bool:
    """Whether a look that took ``cost`` seconds the last time may be made again by now."""
    return time.monotonic() - last >= max(at_least, rest_after(cost))


def rest_after(cost: float) -> float:
    """How long to leave alone what took so many seconds."""
    return DUTY * cost if cost > CHEAP else 0.0
