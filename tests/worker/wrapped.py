"""An application with middleware of all kinds, for workers of all pools."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lavoro import Lavoro, get_task_logger
from lavoro.exceptions import SoftTimeLimitExceeded
from lavoro.middleware import CorrelationId, Middleware, RunCall, TimeLog

logger = get_task_logger(__name__)


class Wrapping(Middleware):
    """Is named by the settings, changes arguments and values, and writes down each end that it sees."""

    def run(self, call: RunCall, proceed: Callable[[RunCall], Any]) -> Any:
        if call.name == "hangs":
            try:
                time.sleep(0.2)
                while time.sleep(0.01) is None:  # a thread hears of a limit between two steps
                    pass
            except SoftTimeLimitExceeded as error:
                return f"interrupted: {type(error).__name__}"
        call.kwargs["added"] = 10
        try:
            return ["wrapped", proceed(call)]
        finally:
            with Path(os.environ["LEDGER"]).open("a") as file:
                file.write(f"{call.name} ended in {os.getpid()}\n")


app = Lavoro(
    "wrapped", lavoro_middleware=["tests.worker.wrapped:Wrapping"], middleware=[CorrelationId(), TimeLog()],
    set_as_current=False,
)  # fmt: skip


def before(call: RunCall) -> None:
    """Change the arguments once more."""
    call.args = (call.args[0] + 1,)


@app.task(name="add", before=before)
def add(x: int, added: int = 0) -> int:
    logger.info("adding")
    return x + added


@app.task(name="sends", bind=True)
def sends(self: Any, added: int = 0) -> list[str]:
    return [self.request.request_id, child.delay().id]


@app.task(name="child", bind=True)
def child(self: Any, added: int = 0) -> str:
    return str(self.request.request_id)


@app.task(name="hangs", soft_time_limit=0.5)
def hangs() -> None: ...


@app.task(name="forks")
def forks(added: int = 0) -> int:
    """Fork: the other process ends where the task ends."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return pid and os.getpid()
