"""An application whose handlers and signals note that they were called, and in which process."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from lavoro import Lavoro, Task, current_task, signals
from tests.worker.app import UNPATCHED_SLEEP, note

app = Lavoro("telling", lavoro_lease=float(os.environ.get("TEST_LEASE", "30")))


class Telling(Task[..., Any]):
    abstract = True

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note("on_failure", task_id, os.getpid(), type(exc).__name__, self.request.id == task_id, args, kwargs)
        if kwargs.get("then") == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if kwargs.get("then") == "exit":
            raise SystemExit(3)
        if kwargs.get("then") == "wait":
            time.sleep(1)
            note("waited", task_id)

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note("after_return", task_id, os.getpid(), status)


@signals.task_failure.connect
def failed(sender: Any, task_id: str, exception: BaseException, einfo: Any, **_: Any) -> None:
    note("task_failure", task_id, os.getpid(), sender.name, type(einfo.exception).__name__, current_task.name)


@signals.task_revoked.connect
def revoked(sender: Any, request: Any, terminated: bool, signum: int, expired: bool, **_: Any) -> None:
    note("task_revoked", request.id, os.getpid(), terminated, signum, expired)


@signals.task_postrun.connect
def over(task_id: str, **_: Any) -> None:
    note("task_postrun", task_id)


@app.task(name="stuck", base=Telling, bind=True)
def stuck(self: Any, then: str = "") -> None:
    """Catch everything, and wait in C."""
    note("start", self.request.id, os.getpid())
    while True:
        with contextlib.suppress(BaseException):
            UNPATCHED_SLEEP(600)


@app.task(name="die", base=Telling, bind=True, acks_late=False)
def die(self: Any, then: str = "") -> None:
    note("start", self.request.id, os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="held", base=Telling, bind=True, acks_late=False)
def held(self: Any, path: str) -> None:
    note("start", self.request.id, os.getpid())
    while not Path(path).exists():
        time.sleep(0.02)


@app.task(name="add")
def add(x: int, y: int) -> int:
    return x + y
