"""The Lavoro app that is measured: tasks that do nothing, or nothing but wait."""

from __future__ import annotations

import json
import os
import time

from benchmarks.stage.hits import mark, record
from lavoro import Lavoro

app = Lavoro("benchmarks", broker=os.environ.get("BENCHMARKS_DSN"))
app.conf.update(json.loads(os.environ.get("BENCHMARKS_SETTINGS", "{}")))


@app.task
def noop(sent: float) -> None:
    """Record the seconds since ``sent``."""
    record(sent)


@app.task
def quiet() -> None:
    """Do nothing, unrecorded."""


@app.task
def same(x: int) -> int:
    """Return the argument."""
    return x


@app.task
def length(results: list[int]) -> int:
    """Record the time, and return the number of results: the body of a chord."""
    mark(time.time())
    return len(results)


@app.task
def nap(seconds: float) -> None:
    """Wait, unrecorded."""
    time.sleep(seconds)


@app.task
def hold(seconds: float) -> None:
    """Wait, then record minus the time: a mark that no other task leaves."""
    time.sleep(seconds)
    mark(-time.time())


@app.task
def stay(seconds: float) -> None:
    """Record the process and the time, then wait."""
    mark(os.getpid())
    mark(time.time())
    time.sleep(seconds)
