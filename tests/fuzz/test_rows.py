"""Rows that a person has damaged: a real worker sets them aside or runs them, and goes on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.conftest import Eventually
from tests.fuzz import CASES
from tests.fuzz.values import TASKS, rows
from tests.worker.conftest import PATIENCE, Worker, workers

pytestmark = pytest.mark.slow

TOGETHER = 200
CANARY = Path(tempfile.gettempdir()) / "lavoro-fuzz-canary"
INSERT = """
    insert into lavoro.waiting (id, queue, priority, attempt, retries, crashes, due_at, expires_at, created_at, name,
        args, kwargs, options, payload, reason)
    values (gen_random_uuid(), %(queue)s, %(priority)s, %(attempt)s, %(retries)s, %(crashes)s,
        coalesce(%(due)s, now()::text)::timestamptz, %(expires)s::timestamptz,
        coalesce(%(created)s, now()::text)::timestamptz, %(name)s, %(args)s, %(kwargs)s, %(options)s, %(payload)s,
        %(reason)s)"""
PENDING = """
    select (select count(*) from lavoro.running) + (select count(*) from lavoro.waiting
        where due_at <= now() and (reason is null or reason !~ '^(worker .* knows no task|made by a later release)'))"""


@pytest.fixture(scope="module")
def worker(module_url: str, tmp_path_factory: pytest.TempPathFactory, eventually: Eventually) -> Iterator[Worker]:
    with workers(tmp_path_factory.mktemp("fuzz"), eventually) as start:
        yield start("-c", "20", app="tests.fuzz.app", url=module_url)


@pytest.fixture(scope="module")
def db(module_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(module_url, autocommit=True) as connection:
        yield connection


def insert(db: psycopg.Connection, row: dict[str, Any]) -> int:
    """Store a row if the table takes it: what it refuses cannot harm a worker."""
    try:
        db.execute(INSERT.encode(), row)
    except (psycopg.DataError, psycopg.IntegrityError):
        return 0
    return 1


def one(db: psycopg.Connection, query: str) -> int:
    found = db.execute(query.encode()).fetchone()
    assert found is not None
    return int(found[0])


@pytest.mark.timeout(7200)
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_damaged_rows_stop_nobody(worker: Worker, db: psycopg.Connection, eventually: Eventually) -> None:
    stored = 0
    children = {child.pid for child in worker.children}

    @settings(max_examples=max(1, CASES // TOGETHER), phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(rows(str(CANARY), size=TOGETHER))
    def throw(batch: list[dict[str, Any]]) -> None:
        nonlocal stored
        stored += sum(insert(db, row) for row in batch)
        db.execute("select pg_notify('lavoro_wake', 'back:celery')")  # else the worker finds them by polling
        eventually(lambda: one(db, PENDING) == 0, timeout=PATIENCE, why="all are dealt with")
        assert {child.pid for child in worker.children} == children, worker.log[-3000:]

    throw()
    assert not CANARY.exists()
    assert one(db, "select count(*) from lavoro.tasks") == stored, "each row is somewhere"
    assert one(db, "select count(*) from lavoro.attempt where state = 'LOST'") == 0
    known = ", ".join(f"'{name}'" for name in TASKS)
    assert one(db, f"select count(*) from lavoro.finished where state = 'SUCCESS' and name not in ({known})") == 0
    assert one(db, "select count(*) from lavoro.finished where state = 'FAILURE' and result is null") == 0
    db.execute("select lavoro.enqueue('fuzz.add', '[1, 2]', id => '00000000-0000-0000-0000-000000000001')")
    good = (
        "select count(*) from lavoro.finished where id = '00000000-0000-0000-0000-000000000001' and state = 'SUCCESS'"
    )
    eventually(lambda: one(db, good) == 1, timeout=PATIENCE, why="a good one runs after them")
