"""I9: each tick of a schedule is sent exactly once, or recorded as skipped with a reason, and none is invented."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tests.faults.history import History, Schedule, Tick
from tests.faults.violation import Violation

SECOND = 1_000_000
MINUTE = 60 * SECOND


def kept(history: History) -> Iterator[Violation]:
    """Compare the ticks of each schedule with its times, which are worked out here, and with the tasks."""
    ticks: dict[str, list[Tick]] = defaultdict(list)
    for tick in history.ticks:
        ticks[tick.schedule].append(tick)
    for schedule in history.schedules:
        found = sorted(ticks.get(schedule.name, []), key=lambda tick: tick.due)
        for what in (*_times(schedule, found), *_end(schedule, found, history.rules.ticked_until)):
            yield Violation("I9", f"{schedule.name} ({schedule.timing}): {what}")
    yield from _tasks(history)


def _every(schedule: Schedule) -> int:
    return MINUTE if schedule.timing == "* * * * *" else round(float(schedule.timing.split()[1][:-1]) * SECOND)


def _times(schedule: Schedule, ticks: Sequence[Tick]) -> Iterator[str]:
    """Every time has its row, from the first after the definition on, without a gap and without an overlap."""
    every = _every(schedule)
    first = schedule.since + every if every != MINUTE else (schedule.since // MINUTE + 1) * MINUTE
    if ticks and ticks[0].due != first:
        yield f"its first tick is {ticks[0].due}, not {first}"
    for tick in ticks:
        spans, rest = divmod(tick.until - tick.due, every)
        if rest or tick.times not in (None, spans + 1):
            yield f"{tick.times} ticks from {tick.due} to {tick.until} do not fit"
        if tick.outcome != "sent" and not tick.reason:
            yield f"the tick {tick.due} is {tick.outcome} without a reason"
        if tick.outcome == "sent" and tick.until != tick.due:
            yield f"one task was sent for the ticks {tick.due} to {tick.until}"
        if tick.outcome == "failed" or schedule.error:
            yield f"the tick {tick.due} failed: {tick.reason or schedule.error}"
    for earlier, later in pairwise(ticks):
        if later.due != earlier.until + every:
            yield f"between the ticks {earlier.until} and {later.due} are {(later.due - earlier.until) / SECOND} s"


def _end(schedule: Schedule, ticks: Sequence[Tick], until: float | None) -> Iterator[str]:
    """It went on until the end of the run."""
    if until is not None and schedule.since < until - 2 * _every(schedule):
        last = ticks[-1].until if ticks else schedule.since
        if last < until - _every(schedule):
            yield f"its last tick is {(until - last) / SECOND:.1f} s before the end"


def _tasks(history: History) -> Iterator[Violation]:
    """Each tick that was sent has one task, and each task of a tick has its row."""
    sent = {(tick.schedule, tick.due): tick for tick in history.ticks if tick.outcome == "sent"}
    tasks = Counter((task.schedule, task.at) for task in history.ticked)
    for key, tick in sent.items():
        if tasks[key] != 1:
            yield Violation("I9", f"the tick {key} has {tasks[key]} tasks", tick.task)
    for task in history.ticked:
        found = sent.get((task.schedule, task.at))
        if found is None or found.task != task.id:
            yield Violation("I9", f"the tick {(task.schedule, task.at)} does not name its task", task.id)
