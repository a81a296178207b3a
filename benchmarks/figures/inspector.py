"""The inspector with ten million finished tasks: its first pages, counts and groups; and actions on a million tasks."""

from __future__ import annotations

import datetime as dt
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psutil

from benchmarks.output.percentiles import percentiles
from benchmarks.stage.hits import Hits, new_hits
from benchmarks.stage.processes import PRODUCE, ROOT, Group, environment, migrate, produce, running, worker
from benchmarks.stage.server import connect, empty_database
from benchmarks.values import Sample, Series, Setting, Step
from lavoro import Lavoro
from lavoro.inspector import Inspector
from lavoro.store import history
from lavoro.store.database import Database
from lavoro.store.schema import partitions

FINISHED, MANY, LISTED = 10_000_000, 1_000_000, 100_000
PIECE, TURNS = 250_000, 15
RATE, WARM, SECONDS, ENDLESS = 100, 200, 20.0, 1_000_000
DAY = 86_400
HOUR = dt.timedelta(hours=1)

# A day of tasks: 100 names on ten queues, of which one in fifty fails, with one of seven errors. Ids sort by time.
FILL = """
insert into lavoro.finished (id, state, worker_id, queue, priority, attempt, retries, crashes, runtime, due_at,
    created_at, started_at, finished_at, name, args, kwargs, result)
select (lpad(to_hex(16 + n / 4096), 8, '0') || '-' || lpad(to_hex(n % 4096), 4, '0') || '-7000-8000-{zero}')::uuid,
    case when n % 50 = 0 then 'FAILURE' else 'SUCCESS' end, 1, 'q' || n / 7 % 10, 0, 1, 0, 0, 0.01, t, t, t, t,
    'shop.task' || n * 7 % 100, json_build_array(n), '{{"customer":17,"deep":{{"city":"Rome"}}}}',
    case when n % 50 = 0 then json_build_object('exc_type', 'Error' || n / 50 % 7, 'exc_message', json_build_array(n))
        else 'null'::json end
from (
    select n, now() - ({count} - n) * interval '{span} s' / {count} as t
    from generate_series({first}::bigint, {last}::bigint) n
) x"""
WAITING = """
insert into lavoro.waiting (id, queue, priority, name, args, kwargs)
select (lpad(to_hex(1 + n / 65536), 8, '0') || '-' || lpad(to_hex(n % 65536), 4, '0') || '-7000-9000-{zero}')::uuid,
    'bulk', 0, 'shop.bulk', json_build_array(n), '{{"customer":17}}' from generate_series(0, {count} - 1) n"""
ZERO = "0" * 12
UNCOUNTED = """
update lavoro.history_mark
set until = date_bin('1 minute', now(), '2000-01-01 00:00+00') - interval '1 day'"""

QUESTIONS: dict[str, Callable[[Inspector], Any]] = {
    "newest": lambda i: i.tasks(),
    "oldest": lambda i: i.tasks(order="oldest"),
    "ended last": lambda i: i.tasks(order="ended"),
    "finished": lambda i: i.tasks(stage="finished"),
    "failed": lambda i: i.tasks(state="FAILURE"),
    "failed, ended last": lambda i: i.tasks(state="FAILURE", order="ended"),
    "of an error": lambda i: i.tasks(error="Error3"),
    "of a queue": lambda i: i.tasks(queue="q3"),
    "of a name": lambda i: i.tasks(name="shop.task3*"),
    "of a worker": lambda i: i.tasks(worker="nowhere"),
    "with arguments": lambda i: i.tasks(args={"deep": {"city": "Rome"}}),
    "with arguments that no task has": lambda i: i.tasks(args={"deep": {"city": "Paris"}}),
    "that ended in an hour": lambda i: i.tasks(since=HOUR, order="ended"),
    "that no task matches": lambda i: i.tasks(queue="none"),
}
"""The lists, of which the first page is read."""
SUMMARIES: dict[str, Callable[[Inspector], Any]] = {
    "counts by stage": lambda i: i.counts(),
    "counts by state": lambda i: i.counts("state"),
    "counts by queue": lambda i: i.counts("queue"),
    "counts by name": lambda i: i.counts("name"),
    "count of what matches": lambda i: i.where(queue="q3", state="FAILURE").count(),
    "queues": lambda i: i.queues(),
    "workers": lambda i: i.workers(),
    "failures of an hour": lambda i: i.failures(),
    "failures of a day": lambda i: i.failures(since=24 * HOUR),
    "history by minute": lambda i: i.history("minute"),
    "history by day and name": lambda i: i.history("day", by="name"),
}


def steps(setting: Setting) -> list[Step]:
    """Measure questions and actions on one database, which takes minutes to fill."""
    return [partial(_lavoro, setting)]


def _lavoro(setting: Setting) -> list[Sample | Series]:
    rows, many = setting.scaled(FINISHED), setting.scaled(MANY)
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        _fill(dsn, rows, many)
        with Lavoro("inspected", broker=dsn, set_as_current=False) as app:
            asked = _questions(app.inspector, rows)
            memory = _memory(app.inspector, setting.scaled(LISTED))
            counting = _counting(dsn)
            actions = _actions(dsn, hits, app.inspector, many, setting.seconds(SECONDS))
    return [*asked, *memory, *counting, *actions]


def _fill(dsn: str, rows: int, many: int) -> None:
    database = Database(dsn)
    with database.tx() as tx:
        for table in ("finished_success", "finished_failure"):
            span = dt.timedelta(seconds=partitions.period(partitions.DEFAULT_RETENTION[table]))
            present = partitions.partitions_of(tx, table)[0].ends - span
            for number in range(1, dt.timedelta(days=1) // span + 2):
                partitions.make(tx, table, present - number * span, present - (number - 1) * span)
    database.dispose()
    with connect(dsn) as connection:
        for first in range(1, rows + 1, PIECE):
            last = min(first + PIECE - 1, rows)
            connection.execute(FILL.format(zero=ZERO, first=first, last=last, count=rows, span=DAY).encode())
        connection.execute(WAITING.format(zero=ZERO, count=many).encode())
        connection.execute(b"vacuum (analyze) lavoro.waiting")
        connection.execute(b"analyze lavoro.finished")
        connection.execute(b"checkpoint")


def _questions(inspector: Inspector, rows: int) -> list[Sample]:
    """Ask each question several times; the median counts, and the longest of all."""
    found = []
    for kind, questions in (("first page", QUESTIONS), ("answer", SUMMARIES)):
        longest = 0.0
        for name, ask in questions.items():
            times = [_timed(partial(ask, inspector)) for _ in range(TURNS)]
            middle = statistics.median(times) * 1e3
            longest = max(longest, middle)
            found.append(Sample("lavoro", f"{rows:,} finished, {kind}, {name}", "ms", middle))
        found.append(Sample("lavoro", f"{rows:,} finished, {kind}, the slowest", "ms", longest))
    return found


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _memory(inspector: Inspector, count: int) -> list[Sample]:
    """List many tasks, page by page, and return by how much the process grows after the first tenth."""
    me, start, first = psutil.Process(), time.perf_counter(), 0
    for number, _ in enumerate(inspector.iterate(stage="finished")):
        if number == count // 10:
            first = me.memory_full_info().uss
        if number == count:
            break
    taken = time.perf_counter() - start
    figure, grown = f"list of {count:,} tasks", me.memory_full_info().uss - first
    return [
        Sample("lavoro", figure, "tasks/s", count / taken),
        Sample("lavoro", f"{figure}, growth of the process", "MB", grown / 1e6),
    ]


def _counting(dsn: str) -> list[Sample]:
    """Count the whole day for the history, an hour at a time."""
    database = Database(dsn)
    with database.tx() as tx:
        tx.connection.execute(UNCOUNTED.encode())
        start, minutes = time.perf_counter(), 0
        while (counted := history.count(tx, minutes=60)) is not None and counted.begins is not None:
            minutes += 60
        taken = time.perf_counter() - start
    database.dispose()
    return [Sample("lavoro", "history, count of a minute", "ms", taken / minutes * 1e3)]


def _actions(dsn: str, hits: Hits, inspector: Inspector, many: int, seconds: float) -> list[Sample | Series]:
    """Revoke and replay a queue of many tasks, each beside calls of other tasks."""
    found: list[Sample | Series] = []
    env = environment(dsn, hits)
    with running([worker(1)], env) as group:
        produce("preload", WARM, env=env)
        group.wait_until(lambda: hits.count() >= WARM, "the first tasks started")
        alone, _ = _beside(group, hits, env, lambda: time.sleep(seconds))
        figure = f"call to start, {RATE} calls/s"
        found += percentiles("lavoro", f"{figure}, before bulk actions", alone)
        for verb, act in (
            ("revoke", lambda: inspector.where(queue="bulk").revoke()),
            ("replay", lambda: inspector.where(queue="bulk", state="REVOKED").replay()),
        ):
            beside, report = _beside(group, hits, env, act)
            if report.done != many:
                raise RuntimeError(f"{verb}: {report}")
            found.append(Sample("lavoro", f"bulk {verb} of {many:,} tasks", "tasks/s", many / report.seconds))
            found += percentiles("lavoro", f"{figure}, beside a bulk {verb}", beside)
            ratio = statistics.quantiles(beside, n=100)[98] / statistics.quantiles(alone, n=100)[98]
            found.append(Sample("lavoro", f"{figure}, beside a bulk {verb}, p99 of that before", "ratio", ratio))
    return found


def _beside(group: Group, hits: Hits, env: dict[str, str], act: Callable[[], Any]) -> tuple[list[float], Any]:
    """Call at a steady rate while something is done; return the delays of the calls meanwhile, and the result."""
    before = hits.count()
    command = [sys.executable, "-m", PRODUCE, "paced", str(ENDLESS), str(RATE)]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL) as process:
        try:
            group.wait_until(lambda: hits.count() >= before + RATE, "the first calls started")
            begin = hits.count()
            result = act()
            end = hits.count()
        finally:
            process.kill()
    return hits.values(skip=begin)[: end - begin], result
