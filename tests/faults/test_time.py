"""Clocks that are wrong, leases shorter than tasks, and snapshots that are held."""

from __future__ import annotations

import psycopg
import pytest

from tests.faults.trial import Trial

pytestmark = pytest.mark.slow

HOUR = 3600.0


def test_clocks_that_are_wrong(trial: Trial) -> None:
    """Row 28: one node an hour fast, one an hour slow; what is due, expired or lost is decided by the database."""
    trial.worker("-c", "2", "-n", "fast", lease=4, skew=HOUR)
    trial.worker("-c", "2", "-n", "slow", lease=4, skew=-HOUR)
    producer = trial.producer()
    for number in range(20):
        fails = int(number % 5 == 0)
        producer.send("echo", number, 0.1, fails, detail={"fail_times": fails})
    later = producer.send("echo", "later", countdown=2.0, expires=HOUR / 2)
    early = trial.rows("select clock_timestamp()")
    trial.drain()
    trial.stop()
    known = trial.verify(slots=2, fault_free=True)
    [done] = known.stories()[later].done
    assert done.state == "SUCCESS"
    assert known.stories()[later].starts[0].wall >= early[0][0].timestamp() + 1.5
    assert {row.state for row in known.attempts} == {"RETRY"}


def test_tasks_and_etas_longer_than_the_lease(trial: Trial) -> None:
    """Row 35: neither is started again while it lasts."""
    trial.worker("-c", "4", "-n", "first", lease=1.0)
    trial.worker("-c", "4", "-n", "second", lease=1.0)
    producer = trial.producer()
    for number in range(3):
        producer.send("echo", number, 4.0)
        producer.send("echo", number, countdown=4.0)
    trial.drain()
    trial.stop()
    trial.verify(slots=4, fault_free=True)


def test_held_snapshot(trial: Trial) -> None:
    """Row 32: under a report that never ends, a claim does not read again and again what was claimed before."""
    tasks, dead = 150, 20_000
    with psycopg.connect(trial.url) as report:
        report.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        report.execute("select count(*) from lavoro.waiting")
        with psycopg.connect(trial.url, autocommit=True) as past:
            past.execute("set session_replication_role = replica")  # not under audit
            past.execute(
                "insert into lavoro.waiting (id, queue, name, due_at) select gen_random_uuid(), 'celery', 'echo',"
                f" clock_timestamp() - i * interval '1 ms' from generate_series(1, {dead}) i".encode()
            )
            past.execute("delete from lavoro.waiting")
        trial.worker("-P", "solo", settings={"lavoro_prefetch": 0})
        before = index_blocks(trial)
        producer = trial.producer()
        for number in range(tasks):
            producer.send("echo", number)
        trial.drain()
        trial.stop()  # the statistics of its sessions are complete with their end
        read = index_blocks(trial) - before
    trial.verify(fault_free=True, slots=1)
    pages = trial.rows("select relpages from pg_class where oid = 'lavoro.waiting_claim'::regclass")[0][0]
    assert read / tasks < 100, f"{read / tasks:.0f} blocks of the index for each task, it has {pages}"


def index_blocks(trial: Trial) -> int:
    """How many blocks of the index of claims have been looked at."""
    query = "select idx_blks_hit + idx_blks_read from pg_statio_user_indexes where indexrelname = 'waiting_claim'"
    return int(trial.rows(query)[0][0])
