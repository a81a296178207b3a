"""Celery's way to start a worker for tests: it answers a ping before the test begins."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lavoro.app import Lavoro
from lavoro.result import allow_join_result
from lavoro.signals import Signal
from lavoro.testing.running import TestWorker, worker

WORKER_LOGLEVEL = os.environ.get("WORKER_LOGLEVEL", "error")

test_worker_starting = Signal("test_worker_starting")
test_worker_started = Signal("test_worker_started")
test_worker_stopped = Signal("test_worker_stopped")
for _signal in (test_worker_starting, test_worker_started, test_worker_stopped):
    _signal.__test__ = False  # type: ignore[attr-defined]

UNUSED = (
    "autoscale", "heartbeat_interval", "optimization", "ready_callback", "without_gossip", "without_heartbeat",
    "without_mingle",
)  # fmt: skip
"""Options of Celery's worker that mean nothing here: there are no messages between workers."""
POOLS = {"processes": "prefork", "eventlet": "gevent"}


@contextmanager
def start_worker(
    app: Lavoro, concurrency: int = 1, pool: str = "solo", loglevel: str | int = WORKER_LOGLEVEL,
    logfile: str | None = None, perform_ping_check: bool = True, ping_task_timeout: float = 10.0,
    shutdown_timeout: float = 10.0, **options: Any,
) -> Iterator[TestWorker]:  # fmt: skip
    """Run a worker while the block runs, after it has run ``celery.ping``, which the application then must have.

    ``shutdown_timeout`` is how many seconds running tasks have to end. Other options are those of ``lavoro worker``.
    """
    test_worker_starting.send(app)
    running: TestWorker | None = None
    try:
        setup_app_for_worker(app, loglevel, logfile)
        if perform_ping_check:
            assert "celery.ping" in app.tasks, "no task answers the ping: import lavoro.testing.tasks"
        used = {name: value for name, value in options.items() if name not in UNUSED}
        with worker(
            app, pool=POOLS.get(pool, pool), concurrency=concurrency, grace=shutdown_timeout, **used
        ) as running:
            test_worker_started.send(app, worker=running, consumer=running)
            if perform_ping_check:
                with allow_join_result():
                    assert app.tasks["celery.ping"].delay().get(timeout=ping_task_timeout) == "pong"
            yield running
    finally:
        test_worker_stopped.send(app, worker=running)


def setup_app_for_worker(app: Lavoro, loglevel: str | int, logfile: str | None) -> None:
    """Complete an application, make it current and the default, and set its log up."""
    app.finalize()
    app.set_current()
    app.set_default()
    app.log.setup(loglevel=loglevel, logfile=logfile)
