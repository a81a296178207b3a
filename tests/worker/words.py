"""An application whose tasks say too much, or what they should not."""

from __future__ import annotations

import gc
import os
import time
import weakref
from typing import Any

from lavoro import Lavoro, get_task_logger
from lavoro.exceptions import SoftTimeLimitExceeded

app = Lavoro("words")
logger = get_task_logger(__name__)
held: list[weakref.ref[Any]] = []


class Large:
    """What a task holds."""


@app.task(name="add")
def add(x: int, y: int) -> int:
    return x + y


@app.task(name="shout")
def shout(size: int) -> None:
    raise ValueError("x" * size)


@app.task(name="give")
def give(size: int) -> str:
    return "x" * size


@app.task(name="report", bind=True)
def report(self: Any, state: str, size: int) -> str:
    self.update_state(state="SMALL", meta="x")
    self.update_state(state=state, meta="x" * size)
    found = app.AsyncResult(self.request.id)
    return f"{found.state} {len(found.info)}"


@app.task(name="speak")
def speak(text: str) -> None:
    print(text, end="")
    logger.warning("logged %s", text)


@app.task(name="mumble")
def mumble(word: str) -> None:
    """Print a line in parts and without an end, while others do."""
    for number in range(3):
        print(f"{word}{number}", end=" ", flush=True)
        time.sleep(0.05)


@app.task(name="hold", bind=True, soft_time_limit=0.2, max_retries=0)
def hold(self: Any, how: str) -> None:
    """Hold something that is large when it fails."""
    gc.disable()
    large = Large()
    held.append(weakref.ref(large))
    kept = ValueError("kept by the frame that it came through")
    if how == "soft limit":
        try:
            while True:
                time.sleep(0.01)
        except SoftTimeLimitExceeded as error:
            kept = error  # type: ignore[assignment]
    raise kept


@app.task(name="look")
def look() -> tuple[int, int]:
    """Tell how many were held in this process, and how many are still there."""
    found = [reference() is not None for reference in held]
    return len(found), sum(found)


@app.task(name="pid")
def pid() -> int:
    return os.getpid()
