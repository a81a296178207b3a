"""The server is stopped, killed, fails over, is full, refuses; workers come back by themselves."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import psycopg
import pytest

from tests.faults.trial import Trial
from tests.postgres import Cluster

BACK = 3.0
"""Seconds from the database's return to the first claim."""
SLACK = 4.0
"""Seconds more, for machines that have better things to do."""
FAILED = "failed, trying again"
"""A loop of the worker has noticed."""
OURS = "select pid from pg_stat_activity where application_name like 'lavoro%'"


def test_deaths_of_the_server_under_load(own_trial: Trial, own_cluster: Cluster) -> None:
    """Rows 9, 10, 13, 17: nothing is lost, nobody exits, and the first task starts soon after each return."""
    worker = own_trial.worker("-c", "4", "--processes", "2")
    children = {child.pid for child in worker.children}
    producer = own_trial.producer()
    producer.pause = 0.01
    producer.start()

    def come_back() -> None:
        own_trial.promise(BACK + SLACK, "the first task after the server's return")

    @contextlib.contextmanager
    def noticed() -> Iterator[None]:
        before = worker.log.count(FAILED)
        yield
        own_trial.until(lambda: worker.log.count(FAILED) > before, why="the worker has noticed")

    def work(count: int = 15) -> None:
        done: list[int] = []

        def more() -> bool:
            done.append(own_trial.finished())
            return done[-1] >= done[0] + count

        own_trial.until(more, why="tasks finish")

    work()
    with noticed():
        own_cluster.stop("immediate")
    own_cluster.start()
    come_back()
    work()
    own_cluster.kill()
    own_cluster.start()
    come_back()
    work()
    with psycopg.connect(own_trial.url, autocommit=True) as connection:
        [pid] = connection.execute(OURS.encode()).fetchone() or [None]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)  # the postmaster ends all others, and recovers
    work()
    for _ in range(20):
        with contextlib.suppress(psycopg.OperationalError):
            own_trial.rows(f"select pg_terminate_backend(pid) from ({OURS}) ours where random() < 0.5")
        own_trial.until(lambda: own_trial.rows(OURS), why="a session of the worker is there")
    come_back()
    work()
    with noticed():
        own_cluster.execute("alter system set default_transaction_read_only = on")
        own_cluster.execute("select pg_reload_conf()")
    with psycopg.connect(own_cluster.socket_url(), autocommit=True) as connection:
        connection.execute("set default_transaction_read_only = off")
        connection.execute("alter system reset default_transaction_read_only")
        connection.execute("select pg_reload_conf()")
    come_back()
    work()
    producer.stop()
    own_trial.drain()
    assert {child.pid for child in worker.children} == children
    own_trial.stop()
    known = own_trial.verify(slots=4)
    assert {row.state for row in known.attempts} <= {"RETRY"}
    assert "Traceback" not in worker.log
    assert worker.log.count("upkeep recovered") == worker.log.count("upkeep failed, trying again")


@pytest.mark.slow
def test_no_connection_is_left(own_trial: Trial, own_cluster: Cluster) -> None:
    """Row 25: the worker waits and comes back, a producer learns of it at once, and nothing is lost."""
    own_cluster.execute("alter system set max_connections = 20")
    own_cluster.restart()
    worker = own_trial.worker("-c", "4")
    producer = own_trial.producer()
    producer.send("echo", 0, 0.5)
    hoard: list[psycopg.Connection] = []
    with contextlib.suppress(psycopg.OperationalError):
        while True:
            hoard.append(psycopg.connect(own_cluster.url(), autocommit=True))
    ours = f"select pg_terminate_backend(pid) from ({OURS}) ours"
    hoard[0].execute(ours.encode())
    for _ in range(10):  # those that are free now, before the worker has them again
        with contextlib.suppress(psycopg.OperationalError):
            hoard.append(psycopg.connect(own_cluster.url(), autocommit=True))
    began = time.monotonic()
    for _ in range(3):
        producer.operate()
    assert time.monotonic() - began < 20
    own_trial.until(lambda: FAILED in worker.log, why="the worker has noticed")
    for connection in hoard:
        connection.close()
    own_trial.promise(BACK + SLACK, "the first task after there were none")
    producer.send("echo", 1)
    own_trial.drain()
    own_trial.stop()
    own_trial.verify(slots=4)
