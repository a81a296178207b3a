"""Random canvases: a reference, eager mode and the workers of all pools give the same values, errors and runs."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lavoro import uuid
from lavoro.exceptions import ChordError
from lavoro.serialization import dumps, loads
from lavoro.testing import worker
from tests.api.canvas import steps
from tests.api.canvas.reference import Failure, Maker, Plan, Reference, canvas_of

SEEDS = range(max(25, int(os.environ.get("FUZZ_CASES", "0")) // 100))
"""Those of each pool: ``make fuzz`` takes 1,000."""
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file in which tasks note their runs."""
    (file := tmp_path / "runs").touch()
    monkeypatch.setenv(steps.NOTES, str(file))


@pytest.fixture
def eagerly() -> Iterator[None]:
    """Calls run here."""
    steps.app.conf.task_always_eager = True
    yield
    steps.app.conf.task_always_eager = False


def expected(plan: Plan, kept: bool = False) -> tuple[Any, str | None, Counter[str]]:
    """The value of a plan, or the tag of the task that fails, and the runs."""
    reference = Reference()
    try:
        return reference.value(plan, kept=kept), None, +reference.runs
    except Failure as failure:
        return None, str(failure), reference.runs


@pytest.mark.parametrize("seed", range(max(120, len(SEEDS))))
def test_eagerly(seed: int, eagerly: None) -> None:
    """The results of eager calls are at hand, so that none is ignored."""
    plan = Maker(seed).plan()
    value, failing, runs = expected(plan, kept=True)
    canvas = canvas_of(plan, "key", steps)
    call = canvas.apply if seed % 2 == 0 else canvas.apply_async
    value_here, failing_here = end_of(call())
    assert (loads(dumps(value_here)), failing_here) == (value, failing), plan
    assert steps.runs().get("key") == runs, plan


@pytest.mark.parametrize("pool", ["threads", "solo", "prefork", "gevent"])
def test_through_a_worker(pool: str, migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once, so that they meet: the results are read afterwards."""
    monkeypatch.setenv("LAVORO_DATABASE_URL", migrated_url)
    steps.app.conf.broker_url = migrated_url
    sent = []
    with worker(steps.app, pool=pool, concurrency=4):
        for seed in SEEDS:
            plan, key = Maker(seed).plan(), uuid()
            canvas = canvas_of(plan, key, steps)
            if seed % 2:  # as one that was stored
                canvas = steps.app.signature(json.loads(json.dumps(canvas)))
            sent.append((seed, plan, key, canvas.apply_async()))
        for seed, plan, _, result in sent:
            assert end_of(result) == expected(plan)[:2], (seed, plan)
        wait_for_the_end(migrated_url)
    runs = steps.runs()
    for seed, plan, key, _ in sent:
        assert runs.get(key) == expected(plan)[2], (seed, plan)
    steps.app.close()


def end_of(result: Any) -> tuple[Any, str | None]:
    """Wait for a result: its value, or the tag of the task that failed."""
    try:
        return result.get(timeout=PATIENCE), None
    except (Failure, ChordError) as error:
        return None, re.findall(r"t\d+", str(error))[-1]


def wait_for_the_end(url: str) -> None:
    """Wait until no task is left: callbacks run after the result that they follow is stored."""
    left = b" union all ".join(b"select name from lavoro." + table for table in (b"held", b"waiting", b"running"))
    with psycopg.connect(url, autocommit=True) as connection:
        deadline = time.monotonic() + PATIENCE
        while names := connection.execute(left).fetchall():
            assert time.monotonic() < deadline, names
            time.sleep(0.05)
