"""What is profiled: a worker that empties a queue, callers that fill it, and the statements of both."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.stage import fill, spy, watch
from benchmarks.stage.explain import explain
from benchmarks.stage.hits import new_hits
from benchmarks.stage.meter import server_cpu_seconds
from benchmarks.stage.processes import PRODUCE, environment, migrate, produce, running, worker
from benchmarks.stage.server import connect, empty_database
from benchmarks.stage.statements import Statements, Used
from benchmarks.subjects.desk import Desk
from benchmarks.values import Setting
from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Message
from lavoro.store import tasks
from lavoro.worker.child.capacity import BATCH

DRAIN, ONE, MANY, LIST = 200_000, 10_000, 500_000, 10_000
WAITING, INSERT, BEFORE = 100_000, 1_000, 10


@dataclass(frozen=True)
class Seen:
    """How many tasks a process handled, and the seconds it took: on the clock, of its CPU, and of the server's."""

    tasks: int
    clock: float
    user: float
    system: float
    server: float
    """NaN if the server is not on this machine."""
    used: list[Used]


def drain(setting: Setting, picture: Path) -> Seen:
    """Watch the one child of a worker that empties a queue of no-op tasks."""
    count = setting.scaled(DRAIN)
    with empty_database(setting.server) as dsn, new_hits() as hits, connect(dsn) as connection:
        migrate(dsn)
        produce("preload", count, env=environment(dsn))
        statements = Statements(connection)
        env = environment(dsn, hits)
        with watch.together([worker(1)], env, dsn=dsn, table="lavoro.waiting", processes=1) as group:

            def drained() -> None:
                group.wait_until(lambda: hits.count() >= count, "the last task started")
                group.wait_until(lambda: watch.is_empty(connection), "the last task finished", pause=0.01)

            [child] = psutil.Process(group.processes[0].pid).children()
            seen = _observe(statements, child, picture, done=hits.count, wait=drained)
        watch.check(connection, "lavoro", hits, count)
    return seen


def one_by_one(setting: Setting, picture: Path) -> Seen:
    """Watch a process that calls `.delay()`."""
    return _calls(setting, picture, "one", setting.scaled(ONE))


def in_lists(setting: Setting, picture: Path) -> Seen:
    """Watch a process that calls `delay_many`."""
    return _calls(setting, picture, "many", setting.scaled(MANY), LIST)


def _calls(setting: Setting, picture: Path, *verb: object) -> Seen:
    command = [sys.executable, "-m", PRODUCE, *map(str, verb)]
    with empty_database(setting.server) as dsn, connect(dsn) as connection, tempfile.TemporaryDirectory() as folder:
        migrate(dsn)
        statements, said = Statements(connection), Path(folder) / "said"

        def stored() -> int:
            return int(connection.execute("select count(*) from lavoro.waiting").fetchall()[0][0])

        with running([command], environment(dsn), log=said) as group:
            group.wait_until(lambda: stored() > 0, "the first call was stored")

            def called() -> None:
                group.wait_until(lambda: said.stat().st_size > 0, "the last call was stored")

            caller = psutil.Process(group.processes[0].pid)
            return _observe(statements, caller, picture, done=stored, wait=called)


def _observe(
    statements: Statements,
    process: psutil.Process,
    picture: Path,
    *,
    done: Callable[[], int],
    wait: Callable[[], None],
) -> Seen:
    with spy.spying(process.pid, picture):
        before = done()
        statements.reset()
        start, cpu, server = time.perf_counter(), process.cpu_times(), server_cpu_seconds(statements.connection)
        wait()
        clock, after = time.perf_counter() - start, process.cpu_times()
        server, used = server_cpu_seconds(statements.connection) - server, statements.read()
    return Seen(done() - before, clock, after.user - cpu.user, after.system - cpu.system, server, used)


def plans(setting: Setting) -> dict[str, str]:
    """Explain a claim and a finish of a batch beside many that wait, a single insert, and one of a batch."""
    with empty_database(setting.server) as dsn:
        migrate(dsn)
        with closing(Desk(dsn)) as desk:
            fill.waiting(desk.tx.connection, setting.scaled(WAITING) + BEFORE * BATCH, begin=-60, span=60)
            fill.settle(desk.tx.connection)
            desk.walk(BEFORE * BATCH)
            for _ in range(BEFORE):
                _insert(desk)
            found = explain(desk.tx.connection)
            desk.walk(BATCH)
            _insert(desk)
    return dict(zip(("claim_tasks", "finish_tasks", "insert_task", "insert_calls"), found, strict=True))


def _insert(desk: Desk) -> None:
    for count in (1, INSERT):
        tasks.insert(desk.tx, [_message() for _ in range(count)])


def _message() -> Message:
    return Message(uuid7(), fill.NOOP, "celery", 0, 0, None, 0.0, None, None, "[0.0]", None, None, None)
