"""The warning at the start about another live worker of the same name."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Collection, Iterator

from lavoro.exceptions import LavoroError
from lavoro.store.database import Database
from lavoro.store.queues import WorkerStatus, worker_status
from lavoro.text.plural import counted


def of_the_node(database: Database, node: str, own: Collection[int]) -> Iterator[str]:
    """Yield a warning if a live worker has the same name.

    A process of this machine that is gone does not count, nor one whose number a process of our own has now.
    """
    host = socket.gethostname()
    found: list[WorkerStatus] = []
    with contextlib.suppress(LavoroError):  # an outage must not prevent the start
        found = [worker for worker in worker_status(database) if worker.node == node]
    namesakes = [worker for worker in found if worker.host != host or not (worker.pid in own or _is_gone(worker.pid))]
    if namesakes:
        first = namesakes[0]
        yield (
            f"a worker named {node} is alive already ({counted(len(namesakes), 'process', 'processes')}, one is"
            f" {first.pid} on {first.host}): give each worker a name of its own with -n"
        )


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
