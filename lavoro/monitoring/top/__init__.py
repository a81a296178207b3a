"""Samples what an operator watches: queues with their rates, workers, the slowest running tasks, and failing tasks."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, NamedTuple

from lavoro.store.statements import read, render, without_comments
from lavoro.store.tx import Row, Tx

_QUERIES = read(Path(__file__).parent)
COUNTED = 10_000
"""Most tasks of a lane, a queue with a priority, that are counted."""
LANES = 200
"""Most lanes that are counted."""
ENDED = 100_000
"""Most ended tasks of a frame that are counted; the next frame goes on there."""
SHOWN = 100
"""Most lines of each table."""
GROUPED = 1_000
"""Most failures that are grouped."""
SPAN = 900.0
"""Seconds in which failures count."""


class Queue(NamedTuple):
    """A queue; its rates are tasks per second since the frame before."""

    name: str
    ready: int
    """Waiting and due."""
    scheduled: int
    held: int
    running: int
    exact: bool
    """False: there are more than were counted."""
    oldest: float | None
    """Seconds for which the oldest due task has waited."""
    paused: bool
    served: bool
    """Whether a live worker takes tasks from it."""
    rate_in: float | None
    """None: in the first frame, and where the counts are not exact."""
    rate_out: float | None

    @property
    def tasks(self) -> int:
        """All that have not ended."""
        return self.ready + self.scheduled + self.held + self.running


class Worker(NamedTuple):
    """A live process of a worker."""

    node: str
    process: int
    pid: int
    pool: str
    slots: int
    running: int
    """With tasks that are claimed and have not begun."""
    quiet: bool
    seen: float
    """Seconds since its lease was renewed."""
    queues: list[str]
    rate: float | None
    """Ended tasks per second."""


class Running(NamedTuple):
    """A task that runs."""

    id: str
    name: str
    queue: str
    node: str | None
    seconds: float
    start: int
    """The number of this start."""
    ending: bool
    """Whether it is told to end."""


class Failing(NamedTuple):
    """Failures of one task with one error in the last 15 minutes."""

    name: str
    error: str
    failed: int
    """Tasks."""
    last: dt.datetime
    seconds: float
    """Since the last one."""
    example: str
    """The id of the last one."""
    message: str | None


class Frame(NamedTuple):
    """All of one moment."""

    at: dt.datetime
    database: str
    seconds: float | None
    """Since the frame before."""
    queues: list[Queue]
    workers: list[Worker]
    running: list[Running]
    """The slowest first."""
    failing: list[Failing]


class Sampler:
    """Makes frames of one database; remembers the last one for the rates. Five statements each, with finite answers."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._since: dt.datetime | None = None
        self._tasks: dict[str, int | None] = {}
        """Tasks that have not ended, by queue; None where they were not counted to the end."""

    def sample(self, tx: Tx) -> Frame:
        """Read one frame."""
        before, until, by_queue, by_worker = self._since, *self._ended(tx)
        seconds = None if before is None else max((until - before).total_seconds(), 0.001)
        lanes = _rows(tx, "queues", most=COUNTED, lanes=LANES, shown=SHOWN)
        queues = [self._queue(row, by_queue.get(row[0], 0), seconds) for row in lanes]
        workers = [
            Worker._make((*row[1:], None if seconds is None else by_worker.get(row[0], 0) / seconds))
            for row in _rows(tx, "workers", shown=SHOWN)
        ]
        self._since = until
        self._tasks = {queue.name: queue.tasks if queue.exact else None for queue in queues}
        return Frame(
            until, self._database, seconds, queues, workers,
            [Running._make(row) for row in _rows(tx, "running", shown=SHOWN)],
            [Failing._make(row) for row in _rows(tx, "failures", span=SPAN, most=GROUPED, shown=SHOWN)],
        )  # fmt: skip

    def forget(self) -> None:
        """Begin anew, without rates, after an outage."""
        self._since, self._tasks = None, {}

    def _ended(self, tx: Tx) -> tuple[dt.datetime, dict[str, int], dict[int, int]]:
        """Count the tasks that ended since the frame before, by queue and by worker, and until when."""
        if self._since is None:
            return _rows(tx, "beginning")[0][0], {}, {}
        by_queue: dict[str, int] = {}
        by_worker: dict[int, int] = {}
        until = self._since
        for until, queue, worker, count in _rows(tx, "ended", since=self._since, most=ENDED):  # noqa: B007
            by_queue[queue] = by_queue.get(queue, 0) + count
            by_worker[worker] = by_worker.get(worker, 0) + count
        return until, by_queue, by_worker

    def _queue(self, row: Row, ended: int, seconds: float | None) -> Queue:
        queue = Queue._make((*row, None, None))
        if seconds is None:
            return queue
        before = self._tasks.get(queue.name, 0)
        came = None if before is None or not queue.exact else max(0, queue.tasks - before + ended) / seconds
        return queue._replace(rate_in=came, rate_out=ended / seconds)


def _rows(tx: Tx, query: str, **parameters: Any) -> list[Row]:
    text = render(without_comments(_QUERIES[query]), tx.schema).encode()
    return tx.cursor.execute(text, parameters).fetchall()
