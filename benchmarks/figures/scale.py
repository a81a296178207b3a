"""How the rate grows with the number of nodes on one machine, and what a task then costs the database."""

from __future__ import annotations

from functools import partial

import psutil

from benchmarks.figures import drain
from benchmarks.stage import fill, watch
from benchmarks.stage.hits import new_hits
from benchmarks.stage.processes import migrate, worker
from benchmarks.stage.server import connect, empty_database, transactions
from benchmarks.values import Sample, Series, Setting, Step

TASKS, NODES = 200_000, (1, 2, 4, 8)
HOUR = 3_600.0


def steps(setting: Setting) -> list[Step]:
    """Measure 1, 2, 4 and 8 nodes of one process each, and as many processes of the prototype."""
    return [partial(measure, setting, nodes) for nodes in NODES for measure in (_prototype, _lavoro)]


def _prototype(setting: Setting, nodes: int) -> list[Sample | Series]:
    """What the machine itself loses with many processes, it loses with these too."""
    drained = drain.prototype_drained(setting, nodes, setting.scaled(TASKS))
    return _samples("prototype", nodes, drained)


def _lavoro(setting: Setting, nodes: int) -> list[Sample | Series]:
    count = setting.scaled(TASKS)
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
        *_samples("lavoro", nodes, drained),
        Sample("lavoro", _figure(nodes), "transactions/task", spent / count),
        Sample("lavoro", _figure(nodes), "% of the machine busy", busy),
    ]


def _figure(nodes: int) -> str:
    return f"drain, {nodes} node{'s' if nodes > 1 else ''}"


def _samples(subject: str, nodes: int, drained: watch.Drained) -> list[Sample | Series]:
    return [
        Sample(subject, _figure(nodes), "tasks/s", drained.started),
        Sample(subject, _figure(nodes), "worker CPU us/task", drained.worker_cpu * 1e6),
        Sample(subject, _figure(nodes), "server CPU us/task", drained.server_cpu * 1e6),
    ]
