"""The application that the tests' worker runs; its database comes from the environment."""

from __future__ import annotations

import gc
import os
import time
from typing import Any

from lavoro import Lavoro, Task, current_task, group, shared_task, signature
from lavoro.exceptions import Ignore, Reject
from lavoro.result import AsyncResult, allow_join_result

app = Lavoro("api", set_as_current=False)


class LocalError(Exception):
    """An exception that the reading process may know."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code, self.text = code, text


@app.task
def ping() -> str:
    return "pong"


@app.task
def collector() -> tuple[bool, int]:
    return gc.isenabled(), gc.get_freeze_count()


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def echo(*args: Any, **kwargs: Any) -> Any:
    return [args, kwargs]


@app.task
def fail(kind: str) -> None:
    errors: dict[str, BaseException] = {
        "local": LocalError(7, "seven"),
        "exit": SystemExit(3),
        "interrupt": KeyboardInterrupt(),
        "unknown": type("Homemade", (Exception,), {"__module__": "json.tool"})("made here"),
        "key": KeyError("name"),
    }
    raise errors[kind]


@app.task(bind=True, max_retries=2, default_retry_delay=0)
def insist(self: Task[..., Any], succeed_at: int) -> int:
    if self.request.retries < succeed_at:
        raise self.retry(exc=LocalError(self.request.retries, "not yet"))
    return int(self.request.retries)


@app.task(bind=True, autoretry_for=(LocalError,), retry_kwargs={"max_retries": 1, "countdown": 0})
def retried_by_itself(self: Task[..., Any]) -> None:
    raise LocalError(self.request.retries, "always")


@app.task(bind=True)
def report(self: Task[..., Any], until: float) -> str:
    """Show progress until somebody has seen it, which a second task tells."""
    self.update_state(state="PROGRESS", meta={"done": 1, "of": 2})
    deadline = time.monotonic() + until
    while AsyncResult(f"seen-{self.request.id}", app=app).stage is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return "done"


@app.task(bind=True)
def describe(self: Task[..., Any]) -> dict[str, Any]:
    request = self.request
    names = ("id", "task", "args", "kwargs", "retries", "hostname", "is_eager", "called_directly", "root_id",
             "parent_id", "correlation_id", "delivery_info", "headers", "properties", "timelimit", "x_trace", "group",
             "chord", "chain", "reply_to", "shadow", "ignore_result")  # fmt: skip
    return {name: request.get(name) for name in names} | {"current": current_task.name}


@app.task
def call_another() -> str:
    return add.delay(1, 1).id


@app.task(bind=True)
def report_for(self: Task[..., Any], id: str) -> Any:
    """Tell of another task, which runs in another process or nowhere."""
    self.update_state(task_id=id, state="TOLD", meta={"by": self.request.id})
    return AsyncResult(id, app=app).info


@app.task(bind=True)
def send_some(self: Task[..., Any]) -> list[str]:
    """Lead to a task, to a group, and to those of ``delay_many``."""
    add.delay(1, 1)
    two, three = (add.apply_async((number, number), add_to_parent=False) for number in (2, 3))
    self.add_trail(app.GroupResult("some", [two, app.GroupResult("inner", [three])]))
    add.delay_many([(4, 4), (5, 5)])
    add.delay_many([(6, 6)], add_to_parent=False)
    return [child.id for child in self.request.children]


@app.task
def join_others(allowed: bool) -> Any:
    """Wait for a set inside a task."""
    both = app.ResultSet(add.delay_many([(1, 1), (2, 2)]))
    if not allowed:
        return both.get(timeout=30)
    with allow_join_result():
        return both.get(timeout=30)


@app.task
def wait_for_another(allowed: bool) -> Any:
    if not allowed:
        return add.delay(1, 1).get(timeout=30)
    with allow_join_result():
        return add.delay(1, 1).get(timeout=30)


@app.task
def ignore() -> None:
    raise Ignore


@app.task
def reject() -> None:
    raise Reject("not like this")


@app.task(bind=True)
def leave(self: Task[..., Any], state: str, meta: Any) -> None:
    self.update_state(state=state, meta=meta)
    raise Ignore


@app.task(bind=True, track_started=True)
def tracked(self: Task[..., Any]) -> dict[str, Any]:
    """Return what is said of a running task, and what is true."""
    seen = AsyncResult(self.request.id, app=app)
    return {"state": seen.state, "info": seen.info, "pid": os.getpid(), "hostname": self.request.hostname}


@app.task
def unspeakable() -> object:
    return object()


@app.task(ignore_result=True)
def forgotten() -> int:
    return 1


@shared_task(name="tests.api.shared")
def shared(x: int) -> int:
    return 2 * x


@app.task
def identity(value: Any) -> Any:
    return value


@app.task(bind=True)
def lineage(self: Task[..., Any], *args: Any) -> dict[str, Any]:
    """Return what the request says of the task's canvas."""
    request = self.request
    names = ("id", "root_id", "parent_id", "group", "group_index", "replaced_task_nesting")
    chain = [step["options"]["task_id"] for step in request.chain or ()]
    return {name: request.get(name) for name in names} | {"args": list(args), "chain": chain}


@app.task
def note(value: Any, key: str) -> Any:
    """Store a value under a task id that the test chose."""
    app.send_task("tests.api.tasks.identity", (value,), task_id=key)
    return value


@app.task
def note_error(request: Any, exc: BaseException, traceback: str | None, key: str = "") -> None:
    """An error callback that is called in the worker of the failed task."""
    said = [request.id, request.task, list(request.args), repr(exc), (traceback or "none").strip().splitlines()[-1]]
    app.send_task("tests.api.tasks.identity", (said,), task_id=key)


@app.task
def note_failed(request: Any, exc: BaseException, traceback: str | None, key: str) -> None:
    """An error callback that notes each failed task under an id of its own."""
    app.send_task("tests.api.tasks.identity", ([request.task, repr(exc)],), task_id=f"{key}:{request.id}")


@app.task
def note_id(task_id: str, key: str) -> None:
    """An error callback that is sent as a task."""
    app.send_task("tests.api.tasks.identity", (task_id,), task_id=key)


@app.task
def boom(*args: Any) -> None:
    raise LocalError(len(args), "boom")


@app.task
def raising_errback(request: Any, exc: BaseException, traceback: str) -> None:
    raise RuntimeError("in the errback")


@app.task
def kinds(values: list[Any]) -> list[str]:
    return [type(value).__name__ for value in values]


@app.task(bind=True)
def replaced_by(self: Task[..., Any], *args: Any) -> Any:
    return self.replace(signature(args[-1], app=app))


@app.task(bind=True)
def adds_to_chord(self: Task[..., Any], number: int) -> str:
    self.add_to_chord(add.s(number, number))
    return "added"


@app.task
def sends_group() -> None:
    group(add.s(1, 1), add.s(2, 2)).delay()


@app.task(bind=True, default_retry_delay=0)
def insists_with(self: Task[..., Any], value: Any) -> Any:
    if not self.request.retries:
        raise self.retry()
    return [self.request.retries, value]
