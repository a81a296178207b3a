"""Tasks of which others follow, for workers that end by themselves: each notes its start in the file of LEDGER."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from lavoro import Lavoro, Task, chain, chord, group
from tests.worker.app import note

app = Lavoro(
    "draining", lavoro_lease=float(os.environ.get("TEST_LEASE", "30")), lavoro_unknown_task_delay=300,
    task_routes={"elsewhere": {"queue": "elsewhere"}},
    beat_schedule={"daily": {"task": "step", "schedule": 86400.0}} if "SCHEDULED" in os.environ else {},
)  # fmt: skip


@app.task(name="step", bind=True)
def step(self: Any, *values: Any) -> int:
    """Add up what comes before."""
    note("step", self.request.id)
    return 1 + sum(value if isinstance(value, int) else sum(value) for value in values)


@app.task(name="late", bind=True)
def late(self: Any, seconds: float, depth: int) -> int:
    """Send the next one at the very end, after a pause: by then the other processes have long found nothing."""
    note("late", self.request.id)
    time.sleep(seconds)
    if depth:
        late.delay(seconds, depth - 1)
    return depth


@app.task(name="everything", bind=True)
def everything(self: Any, seconds: float) -> str:
    """Begin one of each kind of follow-up."""
    note("everything", self.request.id)
    chain(step.s(), step.s(), step.s()).delay()
    chord([step.s(), step.s()], step.s()).delay()
    group(step.s(), step.s()).delay()
    again.delay(2)
    late.delay(seconds, 2)
    return "sent"


@app.task(name="root", bind=True)
def root(self: Any) -> None:
    """Begin a chain and tasks that send tasks: what comes of this one must be done where it was begun."""
    note("root", self.request.id)
    chain(step.s(), step.s()).delay()
    late.delay(0.01, 2)


EVERYTHING = {"step": 3 + 3 + 2, "again": 3, "late": 3, "everything": 1}
"""The starts that come of one ``everything``."""


@app.task(name="again", bind=True, max_retries=None)
def again(self: Any, times: int) -> int:
    note("again", self.request.id)
    if self.request.retries < times:
        raise self.retry(countdown=0)
    return times


@app.task(name="fail")
def fail() -> None:
    raise ValueError("on purpose")


@app.task(name="killed", bind=True)
def killed(self: Any, path: str) -> str:
    """End the process at the first start."""
    note("killed", self.request.id)
    if not Path(path).exists():
        Path(path).touch()
        os._exit(9)
    return "went well"


class Follows(Task):
    """Sends a task when one has failed, after a pause."""

    def on_failure(self, *about: Any) -> None:
        note("on_failure")
        time.sleep(0.5)
        step.delay()


@app.task(name="overdue", bind=True, base=Follows, time_limit=0.3)
def overdue(self: Any) -> None:
    note("overdue", self.request.id)
    time.sleep(600)


@app.task(name="wait_for", bind=True)
def wait_for(self: Any, path: str) -> str:
    note("wait_for", self.request.id)
    while not Path(path).exists():
        time.sleep(0.02)
    return "waited"
