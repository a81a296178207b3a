"""How the rate grows with the number of nodes on one machine, and what a task then costs the database."""

from __future__ import annotations

from functools import partial

import psutil

from benchmarks.stage import fill, watch
from benchmarks.stage.hits import new_hits
from benchmarks.stage.processes import migrate, worker
from benchmarks.stage.server import connect, empty_database, transactions
from benchmarks.values import Sample, Series, Setting, Step

TASKS, NODES = 200_000, (1, 2, 4, 8)
HOUR = 3_600.0


def steps(setting: Setting) -> list[Step]:
    """Measure 1, 2, 4 and 8 nodes of one process each."""
    return [partial(_lavoro, setting, nodes) for nodes in NODES]


def _lavoro(setting: Setting, nodes: int) -> list[Sample | Series]:
    count, figure = setting.scaled(TASKS), f"drain, {nodes} node{'s' if nodes > 1 else ''}"
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        with connect(dsn) as connection:
            fill.waiting(connection, count, begin=-HOUR, span=HOUR)
            fill.settle(connection)
        before = transactions(setting.server)
        psutil.cpu_percent()
        drained = watch.drain([worker(1)] * nodes, dsn=dsn, hits=hits, count=count, processes=nodes)
        busy = psutil.cpu_percent()
        spent = transactions(setting.server) - before
    return [
        Sample("lavoro", figure, "tasks/s", drained.started),
        Sample("lavoro", figure, "transactions/task", spent / count),
        Sample("lavoro", figure, "worker CPU us/task", drained.worker_cpu * 1e6),
        Sample("lavoro", figure, "server CPU us/task", drained.server_cpu * 1e6),
        Sample("lavoro", figure, "% of the machine busy", busy),
    ]
