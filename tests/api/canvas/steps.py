"""The task that random canvases are made of: it does what its arguments say, and notes each run of its body."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

from lavoro import Lavoro, Task, signature
from tests.api.canvas.reference import Failure

app = Lavoro("steps", set_as_current=False)
NOTES = "LAVORO_TESTS_STEPS"
"""The variable of the environment that names the file of the runs."""


@app.task(bind=True, max_retries=None)
def step(
    self: Task[..., Any], *args: Any, tag: str, key: str, fails: bool = False, retries: int = 0, becomes: Any = None
) -> Any:
    """Return the tag and the arguments, after so many retries; or fail, or go on as another canvas."""
    note(key, tag)
    if self.request.retries < retries:
        raise self.retry(countdown=0)
    if fails:
        raise Failure(tag)
    return self.replace(signature(becomes, app=app)) if becomes else [tag, *args]


@app.task
def errback_here(request: Any, exc: BaseException, traceback: Any, *, tag: str, key: str) -> None:
    """An error callback that is called in the worker of the task that has failed."""
    note(key, tag)


@app.task
def errback_sent(task_id: str, *, tag: str, key: str) -> None:
    """An error callback that is sent as a task."""
    note(key, tag)


def note(key: str, tag: str) -> None:
    """Note a run: a line that is appended whole, whatever other processes write."""
    file = os.open(os.environ[NOTES], os.O_WRONLY | os.O_APPEND)
    try:
        os.write(file, f"{key} {tag}\n".encode())
    finally:
        os.close(file)


def runs() -> dict[str, Counter[str]]:
    """Return the runs so far, by key."""
    counted: dict[str, Counter[str]] = {}
    for line in Path(os.environ[NOTES]).read_text().splitlines():
        key, tag = line.split()
        counted.setdefault(key, Counter())[tag] += 1
    return counted
