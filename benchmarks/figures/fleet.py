"""What hundreds of idle workers cost the database, and what waking them for one task costs."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

import psycopg

from benchmarks.output.percentiles import percentiles
from benchmarks.stage.hits import Hits, new_hits
from benchmarks.stage.meter import server_cpu_seconds
from benchmarks.stage.processes import Group, environment, migrate, produce, running
from benchmarks.stage.server import connect, empty_database, quiet_autovacuum, transactions
from benchmarks.values import Sample, Series, Setting, Skipped, Step

NODES, EACH, CONNECTIONS_OF_A_NODE = (100, 500), 50, 3
CONNECTIONS = max(NODES) * (CONNECTIONS_OF_A_NODE + 1) + 100
SECONDS, SETTLE = 180.0, 180.0
"""Two renewals of an idle node, and until each has renewed as one, and begun with its duties."""
CALLS, RATE = 50, 5
ASLEEP = "select count(*) from pg_locks where locktype = 'advisory' and mode = 'ShareLock' and granted"


def steps(setting: Setting) -> list[Step]:
    """Measure 100 and 500 nodes; needs a server that takes their connections."""
    part = min(1.0, setting.scale)
    return [partial(_lavoro, setting, max(1, round(nodes * part / EACH)) * EACH) for nodes in NODES]


def _lavoro(setting: Setting, nodes: int) -> list[Sample | Series]:
    _check_connections(setting.server, nodes)
    with (
        empty_database(setting.server) as dsn, new_hits() as hits, connect(dsn) as connection,
        quiet_autovacuum(setting.server, wanted=setting.throwaway),
    ):  # fmt: skip
        migrate(dsn)
        env = environment(dsn, hits)
        commands = [[sys.executable, "-m", "benchmarks.subjects.fleet", dsn, str(EACH)]] * (nodes // EACH)
        with running(commands, env) as group:
            group.wait_until(lambda: _asleep(connection) >= nodes, f"{nodes} nodes slept", pause=0.2)
            # Each connection plans its statements until it prepares them, at the sixth time.
            time.sleep(setting.seconds(SETTLE))
            idle = _spent(setting, connection, lambda: time.sleep(setting.seconds(SECONDS)))
            woken = _spent(setting, connection, lambda: _call(group, hits, env))
        delays = hits.values()
    figure, extra = f"{nodes} idle nodes", woken[0] - idle[0] / idle[2] * woken[2]
    return [
        Sample("lavoro", f"{figure}, server CPU", "ms/s", idle[0] / idle[2] * 1e3),
        Sample("lavoro", f"{figure}, statements", "per s", idle[1] / idle[2]),
        Sample("lavoro", f"{figure}, server CPU of waking them", "ms/task", extra / CALLS * 1e3),
        *percentiles("lavoro", f"{figure}, call to start", delays),
    ]


def _check_connections(server: str, nodes: int) -> None:
    with psycopg.connect(server) as connection:
        allowed = int(connection.execute("show max_connections").fetchall()[0][0])
    needed = nodes * CONNECTIONS_OF_A_NODE + 20
    if allowed < needed:
        raise Skipped(f"{nodes} idle nodes need {needed} connections; raise max_connections, which is {allowed}")


def _asleep(connection: psycopg.Connection[Any]) -> int:
    return int(connection.execute(ASLEEP).fetchall()[0][0])


def _spent(setting: Setting, connection: psycopg.Connection[Any], action: Any) -> tuple[float, float, float]:
    """Return seconds of the server's CPU, statements, and seconds of time."""
    start, cpu, before = time.perf_counter(), server_cpu_seconds(connection), transactions(setting.server)
    action()
    taken = time.perf_counter() - start
    return server_cpu_seconds(connection) - cpu, transactions(setting.server) - before, taken


def _call(group: Group, hits: Hits, env: dict[str, str]) -> None:
    produce("paced", CALLS, RATE, env=env)
    group.wait_until(lambda: hits.count() >= CALLS, "the last call started")
