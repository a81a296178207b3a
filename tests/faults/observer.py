"""The observer: samples of what Lavoro's processes and connections use, written into the ledger."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import psutil
import psycopg

from tests.faults.ledger import Ledger

CONNECTIONS = """
    select count(*), coalesce(max(extract(epoch from clock_timestamp() - state_change))
        filter (where state like 'idle in transaction%'), 0)::float8
    from pg_stat_activity where datname = current_database() and application_name like 'lavoro-%'
"""


class Observer:
    """Takes a sample every ``interval`` seconds; a database that is away is passed over. A context manager."""

    def __init__(
        self, url: str, ledger: Ledger, processes: Callable[[], list[psutil.Process]], *, interval: float = 0.2
    ) -> None:
        self._url, self._ledger, self._processes, self._interval = url, ledger, processes, interval
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Observer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._enough.wait(self._interval):
            with contextlib.suppress(psycopg.Error):
                self._sample()

    def _sample(self) -> None:
        with psycopg.connect(self._url, connect_timeout=5, autocommit=True) as connection:
            [(count, idle)] = connection.execute(CONNECTIONS.encode()).fetchall()
        memory, descriptors = {}, {}
        for process in self._processes():
            with contextlib.suppress(psutil.Error):
                memory[str(process.pid)] = process.memory_info().rss
                descriptors[str(process.pid)] = process.num_fds()
        self._ledger.write("sample", connections=count, idle_in_transaction=idle, rss=memory, descriptors=descriptors)


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """The CPU time that these processes have used so far."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:2])
    return total


def watch_quietly(
    ledger: Ledger, processes: list[psutil.Process], why: str, *, seconds: float, accepted: Callable[[], int]
) -> None:
    """Watch for some seconds what processes do that should do next to nothing, and write it down."""
    began, cpu, connections = time.monotonic(), cpu_seconds(processes), accepted()
    time.sleep(seconds)
    elapsed = time.monotonic() - began
    ledger.write(
        "quiet",
        why=why,
        cpu_per_second=(cpu_seconds(processes) - cpu) / elapsed,
        attempts_per_second=(accepted() - connections) / elapsed,
    )
