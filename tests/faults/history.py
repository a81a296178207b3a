"""A history: everything that is known about a run once it is over, read without Lavoro's help."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from tests.faults.ledger import Entry

AUDIT = (Path(__file__).parent / "audit.sql").read_text(encoding="utf-8")


class Transition(NamedTuple):
    """A change of one row, as the audit trigger saw it."""

    seq: int
    tx: int
    at: float
    room: str
    verb: str
    """I, U or D."""
    id: str
    attempt: int
    retries: int
    crashes: int
    worker_id: int | None
    state: str | None


class Live(NamedTuple):
    """A row of waiting, held or running at the end."""

    room: str
    id: str
    due_in: float
    attempt: int


class Done(NamedTuple):
    """A row of finished."""

    id: str
    state: str
    attempt: int
    retries: int
    crashes: int
    worker_id: int | None
    finished: float
    result: Any


class Start(NamedTuple):
    """A row of attempt: a start whose outcome was not accepted."""

    id: str
    attempt: int
    state: str
    ended: float
    reason: str | None


class Schedule(NamedTuple):
    """A row of schedule; times are in microseconds since 1970."""

    name: str
    timing: str
    since: int
    error: str | None


class Tick(NamedTuple):
    """A row of tick."""

    schedule: str
    due: int
    until: int
    times: int | None
    outcome: str
    reason: str | None
    task: str | None


class Ticked(NamedTuple):
    """A task, wherever it is, that says that a tick has sent it."""

    id: str
    schedule: str
    at: int


@dataclass(frozen=True)
class Rules:
    """What the run promised; None: nothing about that."""

    drained: bool = True
    """Everything that was sent should be over."""
    fault_free: bool = False
    orderly: bool = False
    """Workers were told to stop, so that starts may have been taken back uncounted."""
    max_crashes: int = 3
    slots: int | None = None
    """How many tasks one process may run at a time."""
    connections: int | None = None
    idle_in_transaction: float = 1.0
    growth: float | None = None
    """Most that memory and descriptors of a process may grow, as a factor."""
    cpu: float | None = None
    """Most CPU seconds per second, of all of Lavoro's processes together, during an outage and while idle."""
    attempts_per_second: float | None = None
    """Most connections per second during an outage."""
    logs: str | None = None
    """What the workers have logged."""
    ticked_until: float | None = None
    """Until when (microseconds since 1970) schedules should have gone on."""
    lost_commits: frozenset[str] = frozenset()
    """Ids whose commit a failover has lost, by the comparison of log positions."""


@dataclass
class Story:
    """What is known of one task."""

    id: str
    intents: list[Entry] = field(default_factory=list)
    outcomes: list[Entry] = field(default_factory=list)
    starts: list[Entry] = field(default_factory=list)
    ends: dict[str, Entry] = field(default_factory=dict)
    last_sign: dict[str, float] = field(default_factory=dict)
    """By token, when (monotonic) the start was last seen alive."""
    live: list[Live] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    attempts: list[Start] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    pids: Mapping[int, int] = field(default_factory=dict)
    ticked: bool = False
    """Whether a schedule has sent it."""


@dataclass
class History:
    """Ledger, tables, and audit of one run."""

    entries: Sequence[Entry]
    live: Sequence[Live] = ()
    done: Sequence[Done] = ()
    attempts: Sequence[Start] = ()
    transitions: Sequence[Transition] = ()
    schedules: Sequence[Schedule] = ()
    ticks: Sequence[Tick] = ()
    ticked: Sequence[Ticked] = ()
    pids: Mapping[int, int] = field(default_factory=dict)
    """The process of each worker."""
    rules: Rules = Rules()
    _stories: dict[str, Story] | None = None

    def stories(self) -> dict[str, Story]:
        """Return everything sorted by task; for many tasks that takes seconds, so it is done once."""
        if self._stories is None:
            self._stories = self._sorted()
        return self._stories

    def _sorted(self) -> dict[str, Story]:
        stories: dict[str, Story] = {}

        def of(id: str) -> Story:
            return stories.get(id) or stories.setdefault(id, Story(id))

        for entry in self.entries:
            if entry.id is not None:
                _add(of(entry.id), entry)
        for name in ("live", "done", "attempts", "transitions"):
            for row in getattr(self, name):
                getattr(of(row.id), name).append(row)
        for tick in self.ticks:
            if tick.task is not None:
                of(tick.task).ticked = True
        for story in stories.values():
            story.pids = self.pids
        return stories

    def of_kind(self, *kinds: str) -> list[Entry]:
        """The entries of these kinds."""
        return [entry for entry in self.entries if entry.kind in kinds]


def _add(story: Story, entry: Entry) -> None:
    if entry.kind == "intent":
        story.intents.append(entry)
    elif entry.kind == "outcome":
        story.outcomes.append(entry)
    elif entry.kind == "start":
        story.starts.append(entry)
    elif entry.kind == "end":
        story.ends[entry.token or ""] = entry
    if entry.token is not None:
        story.last_sign[entry.token] = entry.mono


_QUERIES: tuple[tuple[str, type[Any], str], ...] = (
    (
        "live", Live,
        (
            "select 'waiting', id::text, extract(epoch"
            " from due_at - clock_timestamp())::float8, attempt from lavoro.waiting"
        " union all select 'held', id::text, 0, attempt from lavoro.held"
        " union all select 'running', id::text, 0, attempt from lavoro.running"),
    ),
    (
        "done", Done,
        ("select id::text, state, attempt, retries, crashes, worker_id, extract(epoch from finished_at)::float8,"
        " result::text from lavoro.finished"),
    ),
    (
        "attempts", Start,
        ("select id::text, number, state, extract(epoch from ended_at)::float8, reason from lavoro.attempt"
        " order by number, ended_at"),
    ),
    (
        "transitions", Transition,
        ("select seq, tx::text::bigint, extract(epoch from at)::float8, room, verb::text, id::text, attempt, retries,"
        " crashes, worker_id, state from audit.transition order by seq"),
    ),
    (
        "schedules", Schedule,
        "select name, timing, (extract(epoch from since) * 1000000)::bigint, error from lavoro.schedule",
    ),
    (
        "ticks", Tick,
        ("select schedule, (extract(epoch from due_at) * 1000000)::bigint,"
        " (extract(epoch from coalesce(until_at, due_at)) * 1000000)::bigint, times, outcome, reason, task_id::text"
        " from lavoro.tick"),
    ),
    (
        "ticked", Ticked,
        ("select id::text, options->'tick'->>'schedule',"
        " (extract(epoch from (options->'tick'->>'at')::timestamptz) * 1000000)::bigint from lavoro.tasks"
        " where options->'tick' is not null"),
    ),
)  # fmt: skip


def install_audit(url: str) -> None:
    """Have every change of the four tables copied from now on."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(AUDIT.encode())


def history(url: str, entries: Iterable[Entry], rules: Rules) -> History:
    """Read the tables, and put them together with what was witnessed."""
    found: dict[str, Any] = {}
    with psycopg.connect(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        for name, row, query in _QUERIES:
            found[name] = [row._make(values) for values in connection.execute(query.encode()).fetchall()]
        found["pids"] = dict(connection.execute("select id, pid from lavoro.worker").fetchall())
    found["done"] = [done._replace(result=json.loads(done.result or "null")) for done in found["done"]]
    return History(list(entries), rules=rules, **found)
