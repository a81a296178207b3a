"""How soon work goes on: after the death of a child, of a whole node, and of the server."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psutil
import psycopg

from benchmarks.stage.hits import Hits, new_hits
from benchmarks.stage.processes import Group, environment, migrate, running, worker
from benchmarks.stage.server import connect, empty_database
from benchmarks.values import Sample, Series, Setting, Skipped, Step

KILLS, LEASE, STAY, LIMIT = 5, 5.0, 1.0, 60.0
SETTINGS = f'{{"lavoro_lease": {LEASE}}}'
NODE = worker(1, "--processes", "2", "-c", "1", "-P", "gevent")
STAYS = "select lavoro.enqueue('benchmarks.subjects.tasks.stay', json_build_array(%s::float8))"


def steps(setting: Setting) -> list[Step]:
    """Measure five deaths of each kind."""
    return [partial(_children, setting), partial(_nodes, setting), partial(_server, setting)]


def _children(setting: Setting) -> list[Sample | Series]:
    """Kill the child that runs a task: another one, or its successor, runs it again."""
    with empty_database(setting.server) as dsn, new_hits() as hits, connect(dsn) as connection:
        migrate(dsn)
        with running([NODE], environment(dsn, hits)) as group:
            taken = [_until_it_runs_again(group, connection, hits, 2, _kill_child) for _ in range(KILLS)]
    return _samples("a killed child's task runs again after", taken)


def _nodes(setting: Setting) -> list[Sample | Series]:
    """Kill the node that runs a task, with all its processes: the other node runs it again."""
    taken = []
    for _ in range(KILLS):
        with empty_database(setting.server) as dsn, new_hits() as hits, connect(dsn) as connection:
            migrate(dsn)
            with (
                running([NODE], {**environment(dsn, hits), "BENCHMARKS_SETTINGS": SETTINGS}) as group,
                running([NODE], {**environment(dsn, hits), "BENCHMARKS_SETTINGS": SETTINGS}) as other,
            ):
                taken.append(_until_it_runs_again(group, connection, hits, 4, partial(_kill_node, (group, other))))
    return _samples(f"a killed node's task runs again after, with leases of {LEASE:g} s,", taken)


def _server(setting: Setting) -> list[Sample | Series]:
    """Kill a session: the server ends all others and recovers. Measured from the first connection on."""
    if not setting.throwaway:
        raise Skipped("the death of a server is measured on a throw-away one only: leave --dsn out")
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        with running([NODE], environment(dsn, hits)) as group:
            taken = [_until_the_first_runs(group, dsn, hits) for _ in range(KILLS)]
    return _samples("after a crash of the server the first task runs after", taken)


def _until_the_first_runs(group: Group, dsn: str, hits: Hits) -> float:
    """Crash the server, send a task as soon as it answers, and return how long that took to start."""
    before = hits.count()
    with connect(dsn) as connection:
        group.wait_until(lambda: _workers(connection) >= 2, "the node is ready")
        os.kill(connection.info.backend_pid, signal.SIGKILL)
        group.wait_until(lambda: not _answers(dsn), "the server went")
    group.wait_until(lambda: _answers(dsn), "the server is back")
    back = time.time()
    with connect(dsn) as connection:
        connection.execute(STAYS, (0,))
    group.wait_until(lambda: hits.count() >= before + 2, "the task started")
    return hits.values()[-1] - back


def _until_it_runs_again(
    group: Group, connection: psycopg.Connection[Any], hits: Hits, workers: int, kill: Callable[[int], None]
) -> float:
    """Have a task run, let ``kill`` end the process of that number, and return how long it took to run again."""
    before = hits.count()
    group.wait_until(lambda: _workers(connection) >= workers, "all are ready")
    connection.execute(STAYS, (STAY,))
    group.wait_until(lambda: hits.count() >= before + 2, "the task started")
    killed = time.time()
    kill(int(hits.values()[before]))
    _wait_until(lambda: hits.count() >= before + 4, "the task started again")
    again = hits.values()[before + 3] - killed
    _wait_until(lambda: not connection.execute("select from lavoro.running").fetchall(), "the task ended")
    return again


def _wait_until(done: Callable[[], bool], what: str) -> None:
    """As a group's, while some of its processes have been killed."""
    end = time.monotonic() + LIMIT
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not happen within {LIMIT:g} s")
        time.sleep(0.002)


def _kill_child(pid: int) -> None:
    psutil.Process(pid).kill()


def _kill_node(groups: tuple[Group, ...], pid: int) -> None:
    for members in [group.members() for group in groups]:
        if pid in {member.pid for member in members}:
            for member in members:  # the supervisor first, which would have others run what its children ran
                member.kill()


def _workers(connection: psycopg.Connection[Any]) -> int:
    found = connection.execute("select count(*) from lavoro.worker where stopped_at is null").fetchall()
    return int(found[0][0])


def _answers(dsn: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError), connect(dsn):
        return True
    return False


def _samples(figure: str, taken: list[float]) -> list[Sample | Series]:
    taken = sorted(taken)
    return [
        Sample("lavoro", f"{figure} median", "s", taken[len(taken) // 2]),
        Sample("lavoro", f"{figure} longest", "s", taken[-1]),
    ]
