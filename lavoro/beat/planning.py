"""Decides which ticks of a schedule are sent and which are skipped: values in, values out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Any, NamedTuple

from lavoro.schedules.crontab import crontab
from lavoro.schedules.interval import schedule as interval
from lavoro.schedules.zones import UTC
from lavoro.store.schedules import Due

LATE = 60.0
"""Seconds after which a tick is late."""
COUNTED = 1000
"""The most missed ticks that are counted; of more, the last ones are found by going back from now."""
_INSTANT = timedelta(microseconds=1)
_uniform = SystemRandom().uniform


class Planned(NamedTuple):
    """A tick to send."""

    at: datetime
    eta: datetime | None = None
    """Its time with the jitter, if that is still to come."""
    late: bool = False
    behind: bool = False
    """Whether its task waits for that of the tick before."""


class Skipped(NamedTuple):
    """Ticks that are not sent."""

    at: datetime
    until: datetime
    times: int | None
    """None: more than are counted."""
    reason: str


class Plan(NamedTuple):
    """The ticks of a schedule that is due, and its next one."""

    send: list[Planned]
    skip: list[Skipped]
    cancel: bool
    """Whether the task of the tick before is to be ended."""
    next_at: datetime | None
    due_at: datetime | None


def plan(schedule: Any, due: Due, *, deadline: float | None = None) -> Plan:
    """Return what is to be done at ``due.now``; raises what the schedule raises, and ``ValueError`` if it goes back.

    Ticks of a crontab that are late by more than ``deadline`` seconds are skipped.
    """
    if due.next_at is None or due.due_at is None:
        return Plan([], [], False, *_following(_first(schedule, due), due, due.runs))
    first = due.next_at
    if due.due_at > due.now:
        following = next_after(schedule, first, due.now)
        return Plan([Planned(first, due.due_at)], [], False, *_following(following, due, due.runs + 1))
    times, before = _times(schedule, first, due)
    if not times:
        return Plan([], [], False, None, None)
    send, skip = _by_age(times, before, due)
    if deadline is not None and isinstance(getattr(schedule, "made", schedule), crontab):
        send = _by_deadline(send, skip, deadline, due)
    send, reason = _by_overlap(send, due)
    if reason is not None:
        skip.append(reason)
    if due.most_runs is not None and len(send) > due.most_runs - due.runs:
        send = send[: max(0, due.most_runs - due.runs)]
    cancel = bool(send) and due.overlap == "cancel" and due.last_stage is not None
    following = next_after(schedule, times[-1], due.now)
    return Plan(send, skip, cancel, *_following(following, due, due.runs + len(send)))


def next_after(schedule: Any, moment: datetime, now: datetime) -> datetime | None:
    """Return the first time of a schedule after a moment; of one that can only estimate, by its estimate."""
    if hasattr(schedule, "next_after"):
        following = schedule.next_after(moment)
    else:
        following = now + schedule.remaining_estimate(moment)
    if following is None:
        return None
    following = following.astimezone(UTC)
    if following <= moment:
        raise ValueError(f"its next time, {following.isoformat()}, is not after {moment.isoformat()}")
    return following  # type: ignore[no-any-return]


def upcoming(schedule: Any, moment: datetime) -> Iterator[datetime]:
    """Yield the times of a schedule after a moment."""
    following = next_after(schedule, moment, moment)
    while following is not None:
        yield following
        following = next_after(schedule, following, following)


def _first(schedule: Any, due: Due) -> datetime | None:
    """Return the first time of a definition: an interval begins with the start that is given, or ends after it."""
    start = due.starts_at
    if start is None or start <= due.since:
        return next_after(schedule, due.since, due.now)
    return start if isinstance(schedule, interval) else next_after(schedule, start - _INSTANT, due.now)


def _following(following: datetime | None, due: Due, runs: int) -> tuple[datetime | None, datetime | None]:
    """Return the time of the next tick, and when it comes; both None after the end."""
    if following is None or (due.ends_at is not None and following > due.ends_at):
        return None, None
    if due.most_runs is not None and runs >= due.most_runs:
        return None, None
    return following, following + timedelta(seconds=_uniform(0, due.jitter)) if due.jitter else following


def _times(schedule: Any, first: datetime, due: Due) -> tuple[list[datetime], int | None]:
    """Return the last times that have come, in order, and how many more come before these (None: unknown)."""
    end = due.now if due.ends_at is None else min(due.now, due.ends_at)
    if type(schedule) is interval and not schedule.relative and (end - first) // schedule.run_every >= COUNTED:
        passed = (end - first) // schedule.run_every
        first += schedule.run_every * (passed - COUNTED + 1)
        return [first + schedule.run_every * number for number in range(COUNTED)], passed - COUNTED + 1
    times = list(itertools.islice(_until(schedule, first, end), COUNTED + 1))
    if len(times) <= COUNTED:
        return times, 0
    return _latest(schedule, times[-1], end), None


def _until(schedule: Any, first: datetime, end: datetime) -> Iterator[datetime]:
    moment: datetime | None = first
    while moment is not None and moment <= end:
        yield moment
        moment = next_after(schedule, moment, end)


def _latest(schedule: Any, after: datetime, end: datetime) -> list[datetime]:
    """Return the last times until the end, at least two, found from there backwards."""
    for step in itertools.count():
        start = max(after, end - timedelta(seconds=2**step))
        times = list(itertools.islice(_until(schedule, next_after(schedule, start, end) or end, end), COUNTED))
        if len(times) > 1 or start == after:
            return times
    raise AssertionError


def _by_age(times: Sequence[datetime], before: int | None, due: Due) -> tuple[list[Planned], list[Skipped]]:
    """Divide the times that have come by the rule for missed ticks: only the last one is not missed, if it is new."""
    fresh = (due.now - times[-1]).total_seconds() <= LATE
    if due.missed == "all":
        oldest = due.now - timedelta(seconds=due.missed_age) if due.missed_age is not None else None
        young = [at for at in times[-due.missed_most :] if oldest is None or at >= oldest]
        young = young or ([times[-1]] if fresh else [])
        sent = [Planned(at, late=at != times[-1] or not fresh) for at in young]
        return sent, _skipped(times[: len(times) - len(sent)], before, "missed: more or older than are caught up", due)
    if due.missed == "skip" and not fresh:
        return [], _skipped(times, before, "missed: no worker ran it in time", due)
    skipped = _skipped(times[:-1], before, "missed: a later tick stands for it", due)
    return [Planned(times[-1], late=not fresh)], skipped


def _skipped(times: Sequence[datetime], before: int | None, reason: str, due: Due) -> list[Skipped]:
    if not times:
        return []
    first = due.next_at if before != 0 and due.next_at is not None else times[0]
    return [Skipped(first, times[-1], None if before is None else before + len(times), reason)]


def _by_deadline(send: list[Planned], skip: list[Skipped], deadline: float, due: Due) -> list[Planned]:
    """Skip the times that came too long ago for the setting ``beat_cron_starting_deadline``."""
    late = [tick for tick in send if (due.now - tick.at).total_seconds() > deadline]
    if late:
        skip.append(Skipped(late[0].at, late[-1].at, len(late), "missed: later than beat_cron_starting_deadline"))
    return send[len(late) :]


def _by_overlap(send: list[Planned], due: Due) -> tuple[list[Planned], Skipped | None]:
    """Apply the rule for a task of the last tick that has not ended; caught-up ticks run one after the other."""
    if not send or due.overlap == "allow":
        return send, None
    if due.last_stage is not None and due.overlap != "cancel":
        if due.overlap == "skip" or due.last_stage == "held":
            why = f"the task of the tick before, {due.last_task_id}, has not ended"
            return [], Skipped(send[0].at, send[-1].at, len(send), f"overlap: {why}")
        send = [send[0]._replace(behind=True), *send[1:]]
    return [send[0], *(tick._replace(behind=True) for tick in send[1:])], None
