"""A minimal gevent worker, `python -m benchmarks.subjects.prototype DSN WORKER_ID`: what this design could reach.

It claims in batches, decodes the call, makes a context, runs the task, and finishes in batches under the fence
(id, worker, attempt), with the result kept. It has no signals, limits, logging, leases, retries or wake-ups.
"""

from __future__ import annotations

if __name__ == "__main__":  # before psycopg is imported, because it chooses how to wait at its import
    from gevent import monkey

    monkey.patch_all()

import json
import sys
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime, timedelta, timezone
from typing import Any

import gevent
import psycopg
from gevent.event import Event

from benchmarks.stage.hits import record

BATCH, GREENLETS = 500, 100
LAG = timedelta(seconds=0.02)

INSERT = """
insert into prototype.waiting (id, queue, name, args, options)
select given, 'default', 'noop', %s, '{"root_id":null}' from unnest(%s::uuid[]) as x (given)"""

CLAIM = """
with next as materialized (
    select ctid from prototype.waiting
    where queue = %s and priority = %s and due between %s and clock_timestamp()
    order by due limit %s for update skip locked),
moved as (delete from prototype.waiting w using next where w.ctid = next.ctid returning w.*),
kept as (
    insert into prototype.running
        (id, queue, priority, due, attempt, retries, name, args, kwargs, options, created, worker_id)
    select id, queue, priority, due, attempt + 1, retries, name, args, kwargs, options, created, %s from moved)
select id, name, args::text, kwargs::text, options::text, (attempt + 1)::int2, retries, due from moved"""

# The fence compares two small sets and the delete goes by ctid: as a join of `running` with unnest() it would scan
# the whole table as soon as statistics say that it is empty.
FINISH = """
with outcomes as materialized (
    select * from unnest(%s::uuid[], %s::int2[], %s::text[], %s::text[], %s::text[])
        as x (id, attempt, state, result, traceback)),
held as materialized (
    select ctid as place, id, attempt from prototype.running where id = any(%s::uuid[]) and worker_id = %s for update),
moved as (
    delete from prototype.running where ctid = any(array(
        select place from held join outcomes using (id, attempt))) returning *)
insert into prototype.finished (id, queue, priority, attempt, retries, name, args, kwargs, options, created, worker_id,
    started, state, result, traceback)
select m.id, m.queue, m.priority, m.attempt, m.retries, m.name, m.args, m.kwargs, m.options, m.created, m.worker_id,
    m.started, o.state, o.result::json, o.traceback
from moved m join outcomes o using (id)"""

decode = json.JSONDecoder().decode
encode = json.JSONEncoder(separators=(",", ":")).encode
context: ContextVar[Context] = ContextVar("context")


class Job:
    """A claimed row."""

    __slots__ = ("args", "attempt", "due", "id", "kwargs", "name", "options", "retries")

    def __init__(self, *row: Any) -> None:
        self.id, self.name, self.args, self.kwargs, self.options, self.attempt, self.retries, self.due = row


class Outcome:
    """What became of a job."""

    __slots__ = ("job", "result", "state", "traceback")

    def __init__(self, job: Job, state: str, result: str, traceback: str | None = None) -> None:
        self.job, self.state, self.result, self.traceback = job, state, result, traceback


class Context:
    """What a task may ask about its call."""

    def __init__(self, job: Job, args: list[Any], kwargs: dict[str, Any]) -> None:
        self.id, self.task, self.args, self.kwargs, self.retries = job.id, job.name, args, kwargs, job.retries
        self.hostname, self.root_id, self.parent_id, self.headers = "prototype", job.id, None, None
        self.is_eager = self.called_directly = False


TASKS: dict[str, Callable[..., object]] = {"noop": record}


def execute(job: Job) -> Outcome:
    """Run the job's task; never raises."""
    try:
        args, kwargs = decode(job.args), decode(job.kwargs) if job.kwargs else {}
        token = context.set(Context(job, args, kwargs))
        try:
            return Outcome(job, "SUCCESS", encode(TASKS[job.name](*args, **kwargs)))
        finally:
            context.reset(token)
    except Exception as error:  # a task may raise anything
        return Outcome(job, "FAILURE", encode(repr(error)), repr(error.__traceback__))


class Worker:
    """One process: a greenlet that claims, one that finishes, and many that run tasks between them."""

    def __init__(self, dsn: str, worker_id: int) -> None:
        self.dsn, self.worker_id = dsn, worker_id
        self.jobs: deque[Job] = deque()
        self.outcomes: list[Outcome] = []
        self.has_jobs, self.wants_jobs, self.has_outcomes = Event(), Event(), Event()

    def start(self) -> None:
        """Run for ever."""
        greenlets = [gevent.spawn(self.run_tasks) for _ in range(GREENLETS)]
        gevent.joinall([gevent.spawn(self.claim), gevent.spawn(self.finish), *greenlets], raise_error=True)

    def cursor(self) -> psycopg.Cursor[Any]:
        """Connect."""
        return psycopg.connect(self.dsn, autocommit=True).cursor(binary=True)

    def claim(self) -> None:
        """Keep at least half a batch of jobs at hand."""
        cursor, bound = self.cursor(), datetime(2000, 1, 1, tzinfo=timezone.utc)
        while True:
            self.wants_jobs.wait()
            self.wants_jobs.clear()
            rows = cursor.execute(CLAIM, ("default", 0, bound, BATCH, self.worker_id)).fetchall()
            while not rows:
                gevent.sleep(0.01)
                rows = cursor.execute(CLAIM, ("default", 0, bound, BATCH, self.worker_id)).fetchall()
            bound = min(row[-1] for row in rows) - LAG
            self.jobs.extend([Job(*row) for row in rows])
            self.has_jobs.set()

    def finish(self) -> None:
        """Store whatever has piled up since the last commit."""
        cursor = self.cursor()
        while True:
            self.has_outcomes.wait()
            self.has_outcomes.clear()
            batch, self.outcomes = self.outcomes, []
            ids = [outcome.job.id for outcome in batch]
            columns = [[getattr(o, column) for o in batch] for column in ("state", "result", "traceback")]
            attempts = [outcome.job.attempt for outcome in batch]
            cursor.execute(FINISH, (ids, attempts, *columns, ids, self.worker_id))

    def run_tasks(self) -> None:
        """Run one job after the other."""
        while True:
            while not self.jobs:
                self.has_jobs.clear()
                self.wants_jobs.set()
                self.has_jobs.wait()
            job = self.jobs.popleft()
            if len(self.jobs) < BATCH // 2:
                self.wants_jobs.set()
            self.outcomes.append(execute(job))
            self.has_outcomes.set()


if __name__ == "__main__":
    Worker(sys.argv[1], int(sys.argv[2])).start()
