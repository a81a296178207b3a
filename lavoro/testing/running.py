"""A worker while a block runs: its supervisor is a thread of this process, and its children too where that works."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lavoro.app import Lavoro
from lavoro.discovery import find_app
from lavoro.runtime import forking
from lavoro.runtime.native import patched
from lavoro.testing.child_thread import ChildThread, Reports
from lavoro.testing.replica import replica
from lavoro.worker.config import FAILED, WorkerOptions, node_name
from lavoro.worker.quota import Quota
from lavoro.worker.supervisor.announcements import Announcements
from lavoro.worker.supervisor.children import LEAVING, Children
from lavoro.worker.supervisor.loop import Loop
from lavoro.worker.supervisor.parent import Parent
from lavoro.worker.supervisor.process import ChildProcess
from lavoro.worker.supervisor.supervisor import Process, supervise

logger = logging.getLogger("lavoro.worker")

_numbers = itertools.count(1)


@contextmanager
def worker(app: Lavoro | str, *, pool: str = "threads", timeout: float = 30.0, **options: Any) -> Iterator[TestWorker]:
    """Run a worker while the block runs::

        with worker(app):
            assert add.delay(2, 3).get(timeout=10) == 5

    ``timeout`` is how many seconds its start may take; ``options`` are those of ``lavoro worker``, such as
    ``concurrency``, ``queues`` and ``grace``. An error of its start is raised here, one of its work when it stops.
    It runs schedules only with ``beat=True``.
    """
    running = TestWorker(app, pool=pool, **options)
    running.start(timeout)
    try:
        yield running
    except BaseException as error:
        running.end()
        if running.error is not None:
            raise running.error from error
        raise
    running.stop()


class TestWorker:
    """A worker whose supervisor is a thread here, with everything that it does in a process of its own.

    Its children are threads too with the pools ``threads`` and ``solo``, and ``gevent`` where gevent has patched this
    process; else they are processes, which import the application, or make one with the same settings and tasks.
    """

    __test__ = False

    def __init__(self, app: Lavoro | str, *, pool: str = "threads", grace: float = 10.0, **options: Any) -> None:
        self.hostname = node_name(options.pop("hostname", None) or f"gen{os.getpid()}{_suffix()}@%h")
        self.options = Quota.provided(_options(app, pool=pool, grace=grace, hostname=self.hostname, **options))
        self.app = find_app(app) if isinstance(app, str) else app
        self.error: BaseException | None = None
        """The error that has ended it, or kept it from beginning."""
        self.interrupted: list[str] = []
        """The tasks that did not end when it stopped."""
        self._begun = threading.Event()
        self._loop: Loop | None = None
        self._announcements = _Announcements(self)
        self._thread = threading.Thread(target=self._run, name="lavoro-supervisor", daemon=True)

    @property
    def inside(self) -> bool:
        """Whether its tasks run in this process."""
        return _fits_inside(self.options.pool or "")

    def start(self, timeout: float = 30.0) -> None:
        """Start it; return once it runs tasks, and raise the error that prevents that."""
        forking.count_from_here()
        self._loop = Loop()
        self._thread.start()
        in_time = self._begun.wait(timeout)
        if self.error is not None:
            self._thread.join(LEAVING)
            raise self.error
        if not in_time:
            self._order(signal.SIGQUIT)
            raise TimeoutError(f"the worker {self.hostname} was not ready within {timeout:g} s")

    def stop(self) -> None:
        """Stop it as TERM does; raise the error that has ended it before, or that of tasks which do not end."""
        self.end()
        if self.error is not None:
            raise self.error
        if self._thread.is_alive() or self.interrupted:
            raise RuntimeError(
                f"the worker {self.hostname} did not stop in time: {', '.join(self.interrupted) or 'its threads'} still"
                f" ran after {self.options.grace:g} s; wait for the tasks in the test, or give it more grace"
            )

    def end(self) -> None:
        """Stop it as TERM does, whatever becomes of its tasks."""
        self._order(signal.SIGTERM)
        self._thread.join((self.options.grace or 0.0) + 2 * LEAVING)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    def _order(self, number: int) -> None:
        if self._loop is not None and self._thread.is_alive():
            self._loop.order(number)

    def _run(self) -> None:
        assert self._loop is not None
        try:
            code = supervise(self.options, self._process(self._loop))
            if code:
                why = "one of its tasks has failed" if code == FAILED else self._announcements.why
                raise RuntimeError(f"the worker {self.hostname} gave up: {why}")
        except BaseException as error:
            self.error = self.error or error
        finally:
            self._begun.set()

    def _process(self, loop: Loop) -> Process:
        reports = Reports(
            failed=self._failed,
            ready=self._begun.set,
            interrupted=self.interrupted.extend,
            ended=lambda: loop.post(lambda: None),  # no signal tells of the end of a thread
        )

        def spawn(options: WorkerOptions, pool: str, number: int) -> ChildProcess:
            if self.inside:
                return ChildThread(self.app, options, pool, number, reports)
            return ChildProcess(options, pool, number)

        return Process(loop, Children(self.options, loop, spawn), Parent(loop, None), self._announcements)

    def _failed(self, error: BaseException) -> None:
        self.error = error


class _Announcements(Announcements):
    """Says nothing to systemd or a terminal, and tells a worker when its children are ready."""

    def __init__(self, told: TestWorker) -> None:
        super().__init__()
        self._told = told
        self.why = ""
        """The reason for which it stops."""

    def stopping(self, why: str) -> None:
        self.why = why

    def say(self, text: str) -> None:
        logger.info("%s", text)

    def ready(self, text: str) -> None:
        self.say(text)
        if not self._told.inside:
            self._told._begun.set()


def _fits_inside(pool: str) -> bool:
    return pool in ("threads", "solo") or (pool == "gevent" and patched())


def _options(app: Lavoro | str, *, pool: str, **options: Any) -> WorkerOptions:
    for name in ("queues", "exclude_queues", "include"):
        given = options.pop(name, None) or ()
        options[name] = tuple(given.split(",") if isinstance(given, str) else given)
    options.setdefault("beat", False)
    if isinstance(app, str):
        return WorkerOptions(app, pool=pool, **options)
    if _fits_inside(pool):
        return WorkerOptions(repr(app), pool=pool, **options)
    made = replica(app, options.pop("include"))
    settings = {**made.settings, **options.pop("settings", {})}
    return WorkerOptions(made.app, pool=pool, include=made.include, settings=settings, **options)


def _suffix() -> str:
    """Return what tells the names of this process's workers apart; the first one has the name that Celery gives."""
    number = next(_numbers)
    return f"-{number}" if number > 1 else ""
