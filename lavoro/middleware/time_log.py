"""``TimeLog``: logs how long each run took, and the number and time of its queries."""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from lavoro.middleware.calls import Middleware, RunCall
from lavoro.text.plural import counted

logger = logging.getLogger("lavoro.task")


class _Queries:
    """The queries of one run."""

    __slots__ = ("began", "count", "seconds")

    def __init__(self) -> None:
        self.count, self.seconds = 0, 0.0
        self.began: float | None = None

    def begin(self) -> None:
        self.count += 1
        self.began = perf_counter()

    def end(self) -> None:
        if self.began is not None:
            self.seconds += perf_counter() - self.began
            self.began = None


_running: contextvars.ContextVar[_Queries | None] = contextvars.ContextVar("lavoro_queries", default=None)


class TimeLog(Middleware):
    """Logs the time of each run, the number of its queries, and their time: at INFO, a slow one as a warning.

    The queries are those of all SQLAlchemy engines, made in the thread or greenlet of the task; Lavoro's own do not
    count. ``slow`` is in seconds. The records have ``runtime``, ``queries`` and ``query_time`` as attributes::

        app.middleware.add(TimeLog(slow=2.0))
    """

    def __init__(self, slow: float | None = None) -> None:
        self.slow = slow
        for name, listener in _LISTENERS.items():
            if not event.contains(Engine, name, listener):
                event.listen(Engine, name, listener)

    def run(self, call: RunCall, proceed: Callable[[RunCall], Any]) -> Any:
        """Count while the task runs, and log when it ends."""
        queries, began = _Queries(), perf_counter()
        token = _running.set(queries)
        try:
            return proceed(call)
        finally:
            _running.reset(token)
            self._log(call, perf_counter() - began, queries)

    def _log(self, call: RunCall, runtime: float, queries: _Queries) -> None:
        level = logging.INFO if self.slow is None or runtime < self.slow else logging.WARNING
        logger.log(
            level, "Task %s[%s] took %.3f s, of which %s took %.3f s", call.name, call.request.id, runtime,
            counted(queries.count, "query", "queries"), queries.seconds,
            extra={
                "task_name": call.name, "task_id": call.request.id, "runtime": runtime, "queries": queries.count,
                "query_time": queries.seconds,
            },
        )  # fmt: skip


def _begin(*_: Any) -> None:
    if (queries := _running.get()) is not None:
        queries.begin()


def _end(*_: Any) -> None:
    if (queries := _running.get()) is not None:
        queries.end()


_LISTENERS = {"before_cursor_execute": _begin, "after_cursor_execute": _end, "handle_error": _end}
