"""Times work on tasks together with what it costs the database."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil
import psycopg

from benchmarks.values import Sample, Series


@dataclass(frozen=True)
class Cost:
    """Tasks per second, bytes of write-ahead log per task, and writing transactions per task."""

    rate: float
    wal: float
    commits: float

    def samples(self, subject: str, figure: str) -> list[Sample | Series]:
        """Name the three numbers."""
        return [
            Sample(subject, figure, "tasks/s", self.rate),
            Sample(subject, figure, "WAL bytes/task", self.wal),
            Sample(subject, figure, "commits/task", self.commits),
        ]


class Meter:
    """Reads the server's counters; ``spent`` returns their growth since the meter was made.

    A writing transaction is one that takes a transaction id: it is what a commit's flush is paid for. The counters are
    the whole server's, so nothing else should write to it meanwhile.
    """

    READ = "select pg_current_wal_insert_lsn() - '0/0', pg_snapshot_xmax(pg_current_snapshot())::text::bigint"

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection
        self.start = self.read()

    def read(self) -> tuple[float, float]:
        """Return the bytes of log written and the transaction ids used since the server was created."""
        wal, transactions = self.connection.execute(self.READ).fetchall()[0]
        return float(wal), float(transactions)

    def spent(self) -> tuple[float, float]:
        """Return the growth of both counters."""
        wal, transactions = self.read()
        return wal - self.start[0], transactions - self.start[1]


def server_cpu_seconds(connection: psycopg.Connection) -> float:
    """Return the CPU time of the server's processes so far; NaN if it is not on this machine."""
    if not connection.info.host.startswith("/"):
        return math.nan
    try:
        server = psutil.Process(connection.info.backend_pid).parent()
        if server is None or "postgres" not in server.name():
            return math.nan  # its process ids are not ours: it runs in a container
        ended, living = server.cpu_times(), [process.cpu_times() for process in (server, *server.children())]
        return float(ended.children_user + ended.children_system + sum(used.user + used.system for used in living))
    except psutil.Error:
        return math.nan


def cost_of(dsn: str, count: int, work: Callable[[], object]) -> Cost:
    """Run ``work``, which handles ``count`` tasks, once."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        meter, start = Meter(connection), time.perf_counter()
        work()
        seconds = time.perf_counter() - start
        wal, commits = meter.spent()
    return Cost(count / seconds, wal / count, commits / count)


def in_threads(count: int, prepare: Callable[[], Callable[[], object]]) -> Callable[[], None]:
    """Start threads and return a function that lets them go at once and waits for their end.

    Each thread calls ``prepare`` first, which connects and returns the work; so connecting is not timed.
    """
    gate = threading.Barrier(count + 1)
    pool = ThreadPoolExecutor(count)

    def one() -> None:
        try:
            work = prepare()
        except BaseException:
            gate.abort()
            raise
        gate.wait()
        gate.wait()
        work()

    threads = [pool.submit(one) for _ in range(count)]

    def go() -> None:
        gate.wait()
        for thread in threads:
            thread.result()
        pool.shutdown()

    try:
        gate.wait()
    except threading.BrokenBarrierError:
        for thread in threads:
            failure = thread.exception()
            if failure is not None and not isinstance(failure, threading.BrokenBarrierError):
                raise failure from None
        raise
    return go
