"""Random canvases: a reference, eager mode and a real worker give the same values, errors and numbers of runs."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import psycopg
import pytest

from lavoro import Lavoro, uuid
from lavoro.exceptions import ChordError
from lavoro.serialization import dumps, loads
from tests.api import tasks
from tests.api.canvas.reference import Failure, Maker, Plan, Reference, canvas_of

SEEDS = range(120)


def expected(plan: Plan) -> tuple[Any, str | None, Counter[str]]:
    """The value of a plan, or the tag of the task that fails, and the runs."""
    reference = Reference()
    try:
        return reference.value(plan), None, reference.runs
    except Failure as failure:
        return None, str(failure), reference.runs


@pytest.mark.parametrize("seed", SEEDS)
def test_eagerly(seed: int) -> None:
    app = Lavoro("random", set_as_current=False, task_always_eager=bool(seed % 2))
    runs: Counter[str] = Counter()

    @app.task(name="step")
    def step(*args: Any, tag: str, fails: bool) -> Any:
        runs[tag] += 1
        if fails:
            raise Failure(tag)
        return [tag, *args]

    plan = Maker(seed).plan()
    value, failing, expected_runs = expected(plan)
    canvas = canvas_of(plan, step)
    call = canvas.apply if seed % 2 == 0 else canvas.apply_async
    if failing is not None:
        with pytest.raises(Failure, match=f"^{failing}$"):
            call().get()
        return
    assert loads(dumps(call().get())) == value
    assert runs == expected_runs


def test_through_a_worker(worker: object, worker_url: str) -> None:
    """All at once, so that they meet: the results are read afterwards."""
    sent = []
    for seed in SEEDS:
        plan, key = Maker(seed).plan(), uuid()
        canvas = canvas_of(plan, Keyed(key))
        sent.append((seed, plan, key, canvas.apply_async()))
    for seed, plan, key, result in sent:
        value, failing, expected_runs = expected(plan)
        if failing is None:
            assert result.get(timeout=60) == value, (seed, plan)
        else:
            with pytest.raises((tasks.LocalError, ChordError), match=f"'{failing}'"):
                result.get(timeout=60)
        assert runs_of(worker_url, key) == expected_runs, (seed, plan)


class Keyed:
    """Makes signatures whose runs are found again by a key."""

    def __init__(self, key: str) -> None:
        self.key = key

    def s(self, **kwargs: Any) -> Any:
        return tasks.step.s(key=self.key, **kwargs)


def runs_of(url: str, key: str) -> Counter[str]:
    """Count the runs of the tasks with this key, once all of them have ended."""
    with psycopg.connect(url, autocommit=True) as connection:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and connection.execute(_OPEN, {"key": key}).fetchone():
            time.sleep(0.05)
        return Counter(dict(connection.execute(_RUNS, {"key": key}).fetchall()))


_OPEN = " union all ".join(
    f"select 1 from lavoro.{table} where kwargs->>'key' = %(key)s" for table in ("held", "waiting", "running")
).encode()
_RUNS = b"""
    select kwargs->>'tag', sum(attempt)::int from lavoro.finished where kwargs->>'key' = %(key)s and attempt > 0
    group by 1
"""
