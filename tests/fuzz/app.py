"""The application that fuzzed rows are thrown at."""

from __future__ import annotations

from typing import Any

from lavoro import Lavoro

app = Lavoro("fuzz", lavoro_unknown_task_delay=3600.0, lavoro_unknown_task_delay_max=3600.0)


@app.task(name="fuzz.add")
def add(x: int, y: int) -> int:
    return x + y


@app.task(name="fuzz.anything")
def anything(*args: Any, **kwargs: Any) -> Any:
    return [args, kwargs]


@app.task(name="fuzz.nothing", bind=True)
def nothing(self: Any) -> Any:
    """Ask for all that a request has."""
    request = self.request
    return [
        request.headers,
        request.properties,
        request.root_id,
        request.timelimit,
        request.delivery_info,
        request.tone,
    ]


@app.task(name="fuzz.retry", bind=True, max_retries=1)
def retry(self: Any, *args: Any, **kwargs: Any) -> None:
    raise self.retry(countdown=0, headers={"again": True})


@app.task(name="fuzz.raise")
def raise_it(*args: Any, **kwargs: Any) -> None:
    raise ValueError(args, kwargs)


@app.task(name="fuzz.limited", time_limit=600, soft_time_limit=500)
def limited(*args: Any, **kwargs: Any) -> str:
    return "done"
