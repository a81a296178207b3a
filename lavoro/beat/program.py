"""The program ``lavoro beat``: a process that sends the tasks of schedules, and does nothing else."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lavoro
from lavoro.beat.choosing import class_of
from lavoro.beat.service import Service
from lavoro.config import absent
from lavoro.exceptions import ImproperlyConfigured
from lavoro.log import level_of

logger = logging.getLogger("lavoro.beat")


class Beat:
    """The command ``lavoro beat`` in this process: ``app.Beat(loglevel="INFO").run()``.

    ``scheduler`` is a class, its dotted path, or its short name; the setting ``beat_scheduler`` is the default.
    ``schedule`` is kept as an attribute: the state is in the database.
    """

    Service: Any = Service
    app: Any = None

    def __init__(
        self, max_interval: float | None = None, app: Any = None, socket_timeout: float = 30,
        pidfile: str | None = None, no_color: bool | None = None, loglevel: str | int = "WARN",
        logfile: str | None = None, schedule: str | None = None, scheduler: Any = None, scheduler_cls: Any = None,
        redirect_stdouts: bool | None = None, redirect_stdouts_level: str | int | None = None, quiet: bool = False,
        remote_control: bool | None = None, hostname: str | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        self.app = app = app or self.app
        self.max_interval, self.pidfile, self.no_color, self.logfile = max_interval, pidfile, no_color, logfile
        self.loglevel = level_of(loglevel)
        self.schedule = app.either("beat_schedule_filename", schedule)
        self.scheduler_cls = app.either("beat_scheduler", scheduler, scheduler_cls)
        self.redirect_stdouts = app.either("worker_redirect_stdouts", redirect_stdouts)
        self.redirect_stdouts_level = app.either("worker_redirect_stdouts_level", redirect_stdouts_level)
        self.hostname = hostname

    def run(self) -> None:
        """Import the tasks, and send the tasks of schedules until a signal or ``stop`` of the service ends it."""
        self.init_loader()
        self.start_scheduler()

    def init_loader(self) -> None:
        """Import all that defines tasks and schedules."""
        self.app.import_modules()
        if self.scheduler_cls is not None:
            self.app.conf.beat_scheduler = self.scheduler_cls  # it has the entries of the code, see `entries_of`
        self.app.finalize()

    def setup_logging(self, colorize: bool | None = None) -> None:
        """Set the log up."""
        if colorize is None and self.no_color is not None:
            colorize = not self.no_color
        self.app.log.setup(
            self.loglevel, self.logfile, self.redirect_stdouts, self.redirect_stdouts_level, colorize=colorize
        )

    def start_scheduler(self) -> None:
        """Run the service until it is stopped."""
        self.setup_logging()
        if problems := [*absent.of_tasks(self.app.tasks.values(), "refused")]:
            raise ImproperlyConfigured("\n".join(problems))
        cls = class_of(self.scheduler_cls)
        service = self.Service(
            app=self.app, max_interval=self.max_interval, scheduler_cls=self.scheduler_cls,
            schedule_filename=self.schedule, hostname=self.hostname,
        )  # fmt: skip
        with _pidfile(self.pidfile), _stopped_by_signals(service):
            shown = "schedules of the database" if cls is None else f"scheduler {cls.__module__}.{cls.__qualname__}"
            _say(f"beat ready: {shown}; Lavoro {lavoro.__version__}, database {self.app.database_shown}")
            service.start()
        _say("beat stopped")

    def startup_info(self, service: Any) -> str:
        """Return what runs, for people."""
        scheduler = service.get_scheduler(lazy=True)
        return "\n".join(
            line
            for line in (
                "Configuration ->",
                f"    . broker -> {self.app.connection().as_uri()}",
                f"    . scheduler -> {type(scheduler).__module__}.{type(scheduler).__qualname__}",
                scheduler.info,
                f"    . logfile -> {self.logfile or '[stderr]'}@{logging.getLevelName(self.loglevel)}",
                f"    . maxinterval -> {scheduler.max_interval:g}s",
            )
            if line
        )

    banner = startup_info


def _say(text: str) -> None:
    """Log a line about the start or the end, whatever the level of the log is."""
    logger.handle(logger.makeRecord(logger.name, logging.INFO, __file__, 0, "%s", (text,), None))


@contextmanager
def _stopped_by_signals(service: Any) -> Iterator[None]:
    """Stop the service on TERM and INT; in another thread than the main one no signal can be caught."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        threading.Thread(target=service.stop).start()  # this thread may hold the locks that it needs

    former = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def _pidfile(path: str | None) -> Iterator[None]:
    """Hold a file with the process id."""
    if path is None:
        yield
        return
    file = Path(path)
    file.write_text(f"{os.getpid()}\n", encoding="ascii")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
