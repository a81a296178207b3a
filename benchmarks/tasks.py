"""The Lavoro app that is measured: one task that does nothing but record its start."""

from __future__ import annotations

import os

from benchmarks.hits import record
from lavoro import Lavoro

app = Lavoro("benchmarks", broker=os.environ.get("BENCHMARKS_DSN"))


@app.task
def noop(sent: float) -> None:
    """Record the seconds since ``sent``."""
    record(sent)
