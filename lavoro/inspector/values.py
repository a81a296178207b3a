"""The answers of the admin API: frozen values."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from lavoro.states import IGNORED, SUCCESS

SUCCESSES = (SUCCESS, IGNORED)
"""The states of tasks that did not fail."""


@dataclass(frozen=True)
class Count:
    """A number of tasks, and whether it is exact: numbers of large tables are estimates."""

    value: int
    how: Literal["exact", "at_least", "estimated"] = "exact"

    @property
    def exact(self) -> bool:
        """Whether it is the exact number."""
        return self.how == "exact"

    def __str__(self) -> str:
        return f"{_HOW[self.how]}{self.value:,}"

    def __int__(self) -> int:
        return self.value


_HOW = {"exact": "", "at_least": "at least ", "estimated": "about "}


@dataclass(frozen=True)
class TaskInfo:
    """One task, as a list shows it."""

    id: str
    name: str
    queue: str
    stage: str
    """waiting (it is due), scheduled (for later), held, running or finished."""
    state: str
    priority: int
    attempts: int
    """Starts."""
    retries: int
    crashes: int
    created: dt.datetime
    due: dt.datetime
    started: dt.datetime | None = None
    finished: dt.datetime | None = None
    expires: dt.datetime | None = None
    runtime: float | None = None
    """Seconds."""
    worker: str | None = None
    """The node that runs it, or has run it."""
    args: str | None = None
    """JSON, of which a list shows the first 1,000 characters; None: in another serializer, or no longer stored."""
    kwargs: str | None = None
    error: str | None = None
    """The class of the exception of a task that did not succeed."""
    message: str | None = None
    """Of that exception."""
    reason: str | None = None
    """Why it waits, is held or is being ended, as far as the row says."""


@dataclass(frozen=True)
class Page:
    """A part of a list."""

    items: tuple[TaskInfo, ...]
    next: str | None
    """The cursor of the next page; None: there is none."""
    complete: bool = True
    """False: the page ends early, because too many tasks that were read do not match. The next page goes on there."""


@dataclass(frozen=True)
class Done:
    """The effect of an action on one task."""

    id: str
    action: str
    stage: str
    """The stage that it was in."""
    state: str
    """Likewise."""
    text: str
    """The effect in words."""


@dataclass(frozen=True)
class Report:
    """The effect of an action on many tasks, so far."""

    action: str
    done: int = 0
    asked: int = 0
    """Tasks that run, and whose process is told to end them."""
    awaited: int = 0
    """Tasks that were left alone because others wait for them."""
    skipped: int = 0
    """Tasks that have left their state meanwhile, or that cannot be replayed."""
    cursor: str | None = None
    """Where it goes on; None at the beginning, and at the end."""
    complete: bool = False
    """Whether all tasks that match were met."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Preview:
    """The tasks that an action would meet."""

    count: Count
    examples: tuple[TaskInfo, ...]
    """The oldest of them."""


@dataclass(frozen=True)
class Attempt:
    """A start of a task that ended without an outcome, or an outcome before a replay."""

    number: int
    state: str
    started: dt.datetime | None
    ended: dt.datetime
    worker: str | None
    reason: str | None
    error: str | None
    message: str | None
    traceback: str | None


@dataclass(frozen=True)
class TaskDetail:
    """One task with all that is stored of it."""

    info: TaskInfo
    """With its whole arguments."""
    why: str
    """A sentence: why it waits or is held, what runs it, or how it ended."""
    attempts: tuple[Attempt, ...] = ()
    """The earlier ones, oldest first."""
    children: tuple[str, ...] = ()
    """The ids of the tasks that it has sent."""
    result: str | None = None
    """JSON: its value, its exception, or the metadata of its present state."""
    traceback: str | None = None
    options: str | None = None
    """JSON, as the call was stored."""
    parent: str | None = None
    root: str | None = None


@dataclass(frozen=True)
class Ended:
    """The tasks that ended in a time, as the history has them."""

    tasks: int = 0
    failed: int = 0
    """Those of them that did not succeed."""


@dataclass(frozen=True)
class QueueInfo:
    """One queue."""

    name: str
    waiting: Count
    """Due tasks."""
    scheduled: Count
    """Tasks for later."""
    held: Count
    running: Count
    paused: bool
    served: bool
    """Whether a live worker takes tasks from it."""
    latency: float | None
    """Seconds for which the oldest due task has waited; None: no task is due."""
    minute: Ended = Ended()
    """In the last minute that is counted."""
    hour: Ended = Ended()
    """In the last hour up to that minute."""


@dataclass(frozen=True)
class WorkerInfo:
    """One live process of a worker."""

    node: str
    process: int
    host: str
    pid: int
    pool: str
    slots: int
    running: int
    queues: tuple[str, ...]
    started: dt.datetime
    seen: float
    """Seconds since its lease was renewed."""
    quiet: bool
    """Whether it claims nothing for the time being."""


@dataclass(frozen=True)
class FailureGroup:
    """Tasks of one name that ended with the same class of error."""

    name: str
    error: str
    """Empty: the error is not stored."""
    count: Count
    first: dt.datetime
    last: dt.datetime
    example: str
    """The id of the last one."""
    message: str | None
    """Of the last one."""


@dataclass(frozen=True)
class Failures:
    """The failures of a time, grouped."""

    groups: tuple[FailureGroup, ...]
    """The largest first."""
    since: dt.datetime
    """The time that was asked for, or the end of the earliest failure that was counted."""
    complete: bool
    """False: there are more before that time, and the numbers are at least so large."""


@dataclass(frozen=True)
class HistoryPoint:
    """The tasks that ended in one minute, hour or day."""

    at: dt.datetime
    """Its beginning; days are those of UTC."""
    group: str | None
    """The queue or the name of the tasks; None: over all of them."""
    states: dict[str, int]
    """The tasks by their state."""
    retries: int = 0
    crashes: int = 0
    runtime: float = 0.0
    """Seconds from start to end, of all of them."""
    waited: float = 0.0
    """Seconds from the due time to the start, of all of them."""
    longest: float = 0.0
    """Seconds, of the one that ran longest."""

    @property
    def finished(self) -> int:
        """All of them."""
        return sum(self.states.values())

    @property
    def failed(self) -> int:
        """Those that did not succeed."""
        return sum(tasks for state, tasks in self.states.items() if state not in SUCCESSES)
