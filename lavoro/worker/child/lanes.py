"""Lanes: the queues and priorities that have tasks, best first, each with the lower bound of a claim."""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Callable, Iterable, Sequence

from lavoro.protocol.message import Job
from lavoro.store.tasks import Lane

LAG = dt.timedelta(seconds=0.02)
"""How far the lower bound of a lane trails its last claim: transactions that commit this late are still seen."""
EVERYTHING = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
REMEMBERED = 300.0
"""Seconds for which a lane stays known after its last task: claiming from an empty one costs a few microseconds."""
SWEEP = 2.0
"""Seconds between claims from whole lanes, without their lower bounds."""
CHEAP = 0.01
COST_RATIO = 50
"""A scan that took t seconds, more than CHEAP, is repeated after COST_RATIO * t at the earliest: 2 % of the time."""
EARLY = 0.005
"""Seconds by which a timer may end early: the task it waited for may have become due only after the claim."""

Clock = Callable[[], float]


class Lanes:
    """The lanes that a claimer knows.

    Each lane has a lower bound that trails the last claim, so that the dead index entries of tasks claimed before are
    not read again: under a held snapshot they cannot be cleaned up. The bound is a hint: claims that begin below it,
    the further the more seldom, find tasks that were committed late or released.
    """

    def __init__(self, queues: Iterable[str], clock: Clock = time.monotonic) -> None:
        self.queues = list(queues)
        self.wanted: list[str] | None = None
        """The queues to claim from, once the claimer has taken them over."""
        self._clock = clock
        self._seen: dict[tuple[str, int], float] = {}
        """The lanes known, best first, and when each last had a task."""
        self._bounds: dict[tuple[str, int], dt.datetime] = {}
        self._swept = self._swept_back = -math.inf
        self._sweep_cost = 0.0
        self._claim: tuple[float, bool, dict[tuple[str, int], dt.datetime]] = 0.0, False, {}
        """Of the claim under way: when it began, whether from whole lanes, and the bounds that it moves."""

    def __contains__(self, lane: object) -> bool:
        return lane in self._seen

    def remember(self, found: Iterable[tuple[str, int]]) -> bool:
        """Keep the lanes that have tasks, or had lately, in the order of claiming; return whether one is new."""
        now, known = self._clock(), len(self._seen)
        self._seen.update(dict.fromkeys(found, now))
        new = len(self._seen) > known
        kept = [lane for lane, seen in self._seen.items() if now - seen < REMEMBERED]
        kept.sort(key=lambda lane: (-lane[1], self.queues.index(lane[0])))
        self._seen = {lane: self._seen[lane] for lane in kept}
        return new

    def serve(self, queues: list[str]) -> None:
        """Take over the queues that are wanted: lanes of others are forgotten."""
        self.queues = list(queues)
        self._seen = {lane: seen for lane, seen in self._seen.items() if lane[0] in queues}
        self.forget_bounds()
        if self.wanted == queues:
            self.wanted = None

    def forget_bounds(self) -> None:
        """Claim from whole lanes the next time. A claim that is under way moves the old bounds, not the new ones."""
        self._bounds = {}

    @property
    def sweep_due(self) -> bool:
        """Whether the next claim may be one from whole lanes."""
        return self._clock() - self._swept >= max(SWEEP, pause_after(self._sweep_cost))

    def next_claim(self, now: float) -> list[Lane]:
        """Return the lanes for a claim that begins now, each with its lower bound; empty while none is known."""
        sweeping = self.sweep_due
        self._claim = now, sweeping, self._bounds
        if sweeping:
            return [Lane(*lane, EVERYTHING) for lane in self._seen]
        back = dt.timedelta(0)
        if now - self._swept_back > 1:
            self._swept_back, back = now, dt.timedelta(seconds=1)
        return [Lane(*lane, self._bounds.get(lane, EVERYTHING + back) - back) for lane in self._seen]

    def claimed(self, jobs: Sequence[Job]) -> None:
        """Move the lower bounds to what the claim brought."""
        began, swept, bounds = self._claim
        if swept:
            self._swept, self._sweep_cost = began, self._clock() - began
        first = {(job.queue, job.priority): job.due for job in reversed(jobs)}
        bounds.update((lane, due - LAG) for lane, due in first.items())


class LaneScanner:
    """When to scan for lanes with tasks, and what the last scan has found."""

    def __init__(self, queues: Iterable[str], clock: Clock = time.monotonic) -> None:
        self.lanes = Lanes(queues, clock)
        self.scanned = 0.0
        """When the last scan began."""
        self._clock = clock
        self._costs = (0.0, 0.0)
        self._required = True
        self._claim_began = 0.0
        self._next_due: float | None = None
        """When the first task for later is due."""
        self._more_behind = False
        """Whether the last scan found due tasks: then it does not tell when the next one of their lane is due."""

    # Claims

    def next_claim(self, now: float) -> list[Lane]:
        """Return the lanes for a claim that begins now; ``claimed`` takes in what it brings."""
        self._claim_began = now
        return self.lanes.next_claim(now)

    def claimed(self, jobs: Sequence[Job]) -> None:
        """Take in what the claim has brought."""
        self.lanes.claimed(jobs)

    # Scans

    def require(self) -> None:
        """Have a scan made after the next claim."""
        self._required = True

    def allowed(self, *, at_least: float = 0.0) -> bool:
        """Whether the last scan is long enough ago, for its cost and for ``at_least`` seconds."""
        return self._clock() - self.scanned >= max(at_least, pause_after(self._cost))

    def due(self, claimed: int, *, covered: bool, many: int) -> bool:
        """Whether to scan after a claim of so many tasks: for new lanes, tasks below the bounds, or the next due time.

        ``covered``: notifications tell of new lanes; ``many``: a claim of so many leaves no time to wait.
        """
        new_lanes = not claimed and not covered
        hiding = self._more_behind and claimed < many
        return (new_lanes or self._required or self._next_due is not None or hiding) and self.allowed()

    def begin(self) -> Sequence[str]:
        """Begin a scan; return the queues. A requirement from now on needs another scan."""
        self._required, self.scanned = False, self._clock()
        return self.lanes.queues

    def end(self, found: Sequence[tuple[str, int, float]]) -> bool:
        """Take in the lanes, each with the seconds until its first task is due.

        Return whether to claim again at once: a task is due by now, or the bounds may hide it.
        """
        now = self._clock()
        expected = self._next_due is not None and self._next_due - EARLY < self.scanned
        self._costs = (self._costs[1], now - self.scanned)
        new = self.lanes.remember((queue, priority) for queue, priority, _ in found)
        later = [due_in for _, _, due_in in found if due_in > 0]
        self._next_due = now + min(later) if later else None
        self._more_behind = len(later) < len(found)
        hidden = self._more_behind and (new or self.lanes.sweep_due)
        if hidden:
            self.lanes.forget_bounds()
        return hidden or (expected and self._more_behind)

    @property
    def settled(self) -> float:
        """When a scan left nothing open, after the last claim began; minus infinity if none has."""
        return -math.inf if self._more_behind or self.scanned < self._claim_began else self.scanned

    @property
    def next_scan(self) -> float:
        """Seconds until the first known task is due, or until a wanted scan is allowed; infinity for neither."""
        now = self._clock()
        due_in = math.inf if self._next_due is None else self._next_due - now
        if due_in > 0 and not self._required:
            return due_in
        allowed_in = self.scanned + pause_after(self._cost) - now
        return min(due_in, allowed_in) if due_in > 0 else allowed_in

    @property
    def _cost(self) -> float:
        return min(self._costs)  # one slow answer of a busy machine is no expensive scan


def pause_after(cost: float) -> float:
    """Return the seconds to wait after a scan that took so many seconds."""
    return COST_RATIO * cost if cost > CHEAP else 0.0
