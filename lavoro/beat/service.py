"""Runs the schedules of an application in this process: those in the database, and those of a scheduler class."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import cached_property
from typing import Any

from lavoro import signals
from lavoro.beat.choosing import GROUPS, class_of
from lavoro.beat.leading import Leader
from lavoro.beat.scheduler import PersistentScheduler
from lavoro.beat.ticker import Ticker
from lavoro.store.listener import Listener
from lavoro.store.notifications import Schedules, read

logger = logging.getLogger("lavoro.beat")

STOP = 10.0
"""Seconds that a tick under way has for its end."""


class Service:
    """Sends the tasks of schedules, until it is stopped.

    Without ``scheduler_cls``, or with one of Celery's two classes, these are the schedules in the database, which any
    number of processes run. Another class is run too: by one process of all, which has its lease; it has the entries of
    the application's code. ``start`` blocks; ``begin`` and ``halt`` do not. ``schedule_filename``, ``remote_control``
    and ``hostname`` are kept, and change nothing.
    """

    scheduler_cls: Any = PersistentScheduler

    def __init__(
        self, app: Any, max_interval: float | None = None, schedule_filename: str | None = None,
        scheduler_cls: Any = None, remote_control: bool | None = None, hostname: str | None = None,
    ) -> None:  # fmt: skip
        self.app, self.max_interval = app, max_interval or app.conf.beat_max_loop_interval
        self.scheduler_cls = scheduler_cls or self.scheduler_cls
        self.schedule_filename = schedule_filename or app.conf.beat_schedule_filename
        self.remote_control, self.hostname = remote_control, hostname
        self.ticker = Ticker(app, look=self.max_interval)
        self._leader: Leader | None = None
        self._is_shutdown, self._is_stopped = threading.Event(), threading.Event()
        self._embedded = False

    # In a process that does other things too

    def begin(
        self, *, define: bool, embedded: bool = True, within: Callable[[], Callable[..., object]] | None = None
    ) -> None:
        """Begin to send, or look again; ``define``: store the entries of the application's code first.

        ``within`` returns what calls a loop in its thread, once for each loop. The signal ``beat_init`` is sent once
        sending begins here, with ``embedded`` also ``beat_embedded_init``.
        """
        began, self._embedded = self.ticker.alive, embedded
        if within is not None:
            self.ticker.within = within()
        self.ticker.begin(define=define)
        if began:
            return
        if class_of(self.scheduler_cls) is None:
            self._tell_begin()
            return
        self._leader = Leader(self.app, self._begin_scheduler)
        if within is not None:
            self._leader.within = within()
        self._leader.start()

    def changed(self) -> None:
        """Look again: schedules have changed."""
        self.ticker.changed()

    def halt(self, timeout: float | None = STOP) -> None:
        """End after the tick under way, for which it waits at most so many seconds."""
        if self._leader is not None:
            self._leader.stop(timeout)
        self.ticker.stop(timeout)

    def _begin_scheduler(self) -> Any:
        """Make the scheduler, now that this process has its lease."""
        vars(self).pop("scheduler", None)
        scheduler = self.scheduler
        self._tell_begin()
        return scheduler

    def _tell_begin(self) -> None:
        signals.beat_init.send(sender=self)
        if self._embedded:
            signals.beat_embedded_init.send(sender=self)

    # As Celery's

    def start(self, embedded_process: bool = False) -> None:
        """Send until it is stopped, or interrupted."""
        listener = Listener(self.app.database, "wake", self._heard)
        logger.info("beat: Starting...")
        try:
            listener.start()
            self.begin(define=True, embedded=embedded_process)
            self._is_shutdown.wait()
        except (KeyboardInterrupt, SystemExit):
            self._is_shutdown.set()
        finally:
            self.halt()
            listener.stop(STOP)
            self._is_stopped.set()

    def _heard(self, payload: str | None) -> None:
        """Look again after a change, or where one may have been missed (None)."""
        if payload is None or isinstance(read(payload), Schedules):
            self.ticker.changed()

    def sync(self) -> None:
        """Stop, after the state of the scheduler is kept."""
        self._is_shutdown.set()
        self.halt()
        self._is_stopped.set()

    def stop(self, wait: bool = False) -> None:
        """Have ``start`` return; ``wait``: until it has."""
        logger.info("beat: Shutting down...")
        self._is_shutdown.set()
        if wait:
            self._is_stopped.wait()

    def get_scheduler(self, lazy: bool = False, extension_namespace: str = GROUPS[-1]) -> Any:
        """Make a scheduler of the class; with ``lazy`` one that reads no entries."""
        cls = class_of(self.scheduler_cls, (*GROUPS, extension_namespace)) or PersistentScheduler
        return cls(
            app=self.app, schedule_filename=self.schedule_filename, max_interval=self.max_interval, lazy=lazy
        )  # fmt: skip

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (
            self.app, self.max_interval, self.schedule_filename, self.scheduler_cls, self.remote_control, self.hostname,
        )  # fmt: skip

    @cached_property
    def scheduler(self) -> Any:
        """The scheduler of the class; for the schedules in the database one that only shows the entries of the code."""
        return self.get_scheduler()


class Embedded(threading.Thread):
    """A service in a thread of this process."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(name="Beat", daemon=True)
        self.app, self.service = app, Service(app, **options)

    def run(self) -> None:
        """Send until it is stopped."""
        self.app.set_current()
        self.service.start(embedded_process=True)

    def stop(self) -> None:
        """End, after the tick under way."""
        self.service.stop(wait=True)

    terminate = stop


def EmbeddedService(app: Any, max_interval: float | None = None, **kwargs: Any) -> Embedded:
    """Return a service that runs in a thread beside other things: ``start()`` and ``stop()``; ``thread`` is not read.

    A worker needs none: it sends the tasks of schedules anyway.
    """
    kwargs.pop("thread", None)
    return Embedded(app, max_interval=max_interval, **kwargs)
