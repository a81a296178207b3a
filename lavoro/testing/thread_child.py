"""A child without a process of its own: its parts are threads, or greenlets where gevent has patched the process."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from lavoro.app import Lavoro
from lavoro.execution import context
from lavoro.execution.executor import Cancelled
from lavoro.protocol.message import Job
from lavoro.runtime import current_app
from lavoro.runtime.native import patched
from lavoro.worker.child.child import Child, report_by_id
from lavoro.worker.child.hooks import StartupFailed
from lavoro.worker.child.parts import Parts
from lavoro.worker.child.pools import pool_class
from lavoro.worker.child.pools.base import Pool
from lavoro.worker.child.runner import TaskRunner
from lavoro.worker.config import WorkerConfig, WorkerOptions
from lavoro.worker.pipe import Message, Pipe

JOIN = 1.0
"""Seconds to wait for a thread that only has to end."""

_working: list[Parts] = []
"""The parts of all such children that run tasks now."""


class ThreadChild(Child):
    """Runs tasks as a child does, and leaves the process as it is: its log, its signals, its garbage collection.

    ``ended`` is called with the exit code, and the names of the tasks that were interrupted.
    """

    def __init__(
        self, app: Lavoro, config: WorkerConfig, options: WorkerOptions, pipe: Pipe, start: dict[str, Any]
    ) -> None:
        super().__init__(app, config, options, pipe, start)
        self._ended: Callable[[int, list[str]], object] = start["ended"]
        self._report: Callable[[BaseException], object] = start["failed"]
        self._lock = threading.Lock()
        self._parts: Parts | None = None
        self._killed = False

    def kill(self) -> None:
        """Let all threads end where they are; nothing more is stored, as after the end of a process."""
        with self._lock:
            self._killed, parts = True, self._parts
        if self.leaving is not None:
            self.leaving.over = True
        if parts is not None and parts in _working:
            parts.finisher.stop_timeout = 0.0
            parts.pool.take_back()
            for service in (parts.claimer, parts.finisher, parts.end_handlers):
                service.stop(0)
            self._end_threads(parts, -9)

    def _prepare(self) -> None: ...

    def _guard(self, parts: Parts) -> None:
        """Take the states of tasks in; the supervisor's thread ends this child with its lease."""
        _working.append(parts)
        context.report_by_id = _report_by_id

    def _settle(self) -> None: ...

    def _make_pool(self, lease: Message, runner: TaskRunner) -> Pool:
        """Threads for ``solo`` too: the main thread belongs to the tests."""

        def run(job: Job, slot: int, call: Any) -> None:
            current_app.set_current(self.app)  # of this thread: another worker here may have another application
            runner.run(job, slot, call)

        pool = pool_class("gevent" if patched() else "threads")
        return pool(lease["slots"], run, received=runner.receive)

    def _begin(self, lease: Message) -> Parts:
        parts = super()._begin(lease)
        with self._lock:
            self._parts = parts
        if self._killed:
            self.kill()
        return parts

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, StartupFailed):
            self._report(error)
        super()._failed(error)

    def _give_up(self, code: int) -> None:
        self.pipe.close()
        self._ended(code, [])

    def _end(self, last_act: Callable[[], object]) -> None:
        assert self._parts is not None
        self._end_threads(self._parts, 0)
        last_act()

    def _end_threads(self, parts: Parts, code: int) -> None:
        """End the threads; tasks that still run are interrupted, for other tests follow."""
        _working.remove(parts)
        running = set(parts.pool.running)
        for id in running:
            parts.pool.interrupt(id, Cancelled(None))
        parts.pool.stop()  # again: a release has taken back all that no slot had begun, also that order
        if not running:
            parts.pool.join(JOIN)
        parts.prefetched.watch_no_longer()
        parts.heartbeat.stop(JOIN)
        parts.schedules.halt(JOIN)
        parts.hooks.close()
        with contextlib.suppress(OSError):
            self.pipe.socket.shutdown(socket.SHUT_RDWR)  # the thread that reads the orders closes it
        self._ended(code, [f"{job.name}[{job.task_id}]" for job in parts.in_flight.jobs() if job.id in running])


def _report_by_id(task_id: str, state: str, meta: Any) -> bool:
    return any(report_by_id(parts, task_id, state, meta) for parts in list(_working))
