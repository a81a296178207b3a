"""The start of a worker: a first child loads the application and sends its settings, then the database is checked."""

from __future__ import annotations

import logging
import signal
import time
from typing import NamedTuple

from lavoro.exceptions import OperationalError
from lavoro.store.database import Database
from lavoro.store.workers import Ending
from lavoro.worker.config import WorkerConfig
from lavoro.worker.pipe import Message
from lavoro.worker.supervisor.children import Children, StartFailed
from lavoro.worker.supervisor.lifecycle import State
from lavoro.worker.supervisor.loop import Loop
from lavoro.worker.supervisor.parent import Parent
from lavoro.worker.supervisor.process import ChildProcess
from lavoro.worker.supervisor.storage import check, database_of

logger = logging.getLogger("lavoro.worker")

TICK = 0.25
"""Seconds between two checks of the parent."""
DATABASE_INTERVAL = 2.0
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class StoppedEarly(BaseException):
    """The worker was told to stop before its start was complete."""


class Started(NamedTuple):
    """The results of the start; ``children`` has the first child."""

    config: WorkerConfig
    database: Database


class Startup:
    """Runs until a child has loaded the application and the database answers.

    Signals other than the stopping ones stay in the loop, for the supervisor.
    """

    def __init__(self, loop: Loop, children: Children, parent: Parent) -> None:
        self._loop, self._children, self._parent = loop, children, parent
        self._config: WorkerConfig | None = None

    def run(self) -> Started:
        """Return the configuration and the database; raise StartFailed, StoppedEarly, or a LavoroError."""
        self._children.handlers = {"hello": self._hello, "failed": self._failed, "bye": said_bye}
        self._children.start(0)
        config = self._learn_config()
        database = database_of(config)
        self._wait_for(database, config)
        return Started(self._config or config, database)

    def _learn_config(self) -> WorkerConfig:
        """Have a first child load the application; another, if the settings ask for a pool that it is not made for."""
        while True:
            loaded = any(child.life.loaded and child.ending is None for child in self._children.present)
            if self._config is not None and loaded:
                return self._config
            self._turn()

    def _wait_for(self, database: Database, config: WorkerConfig) -> None:
        said = ""
        while True:
            try:
                with self._loop.interrupted(StoppedEarly(), by=STOPS):  # to make or reach a database may take long
                    return check(database, config)
            except OperationalError as error:
                self._stop_early()
                if not config.retry_at_start:
                    raise
                if str(error) != said:  # an outage is logged once, not every two seconds
                    said = str(error)
                    logger.warning("%s; trying again until it answers", error)
            until = time.monotonic() + DATABASE_INTERVAL
            while time.monotonic() < until:
                self._turn()

    def _turn(self) -> None:
        self._loop.wait(min(time.monotonic() + TICK, self._children.next_start))
        self._stop_early()
        self._children.reap()
        if self._children.starts_fail:
            raise StartFailed("too many processes in a row have ended before the worker could begin")
        self._children.start_due()

    def _stop_early(self) -> None:
        signals = self._loop.signals
        closed = signal.SIGHUP in signals and self._parent.terminal_closed
        if closed or self._parent.has_gone() or any(number in STOPS for number in signals):
            raise StoppedEarly

    def _hello(self, child: ChildProcess, message: Message) -> None:
        child.life.reach(State.LOADED)
        self._config = WorkerConfig.from_dict(message["config"])
        self._children.shape(self._config)
        if self._config.pool != child.pool:
            child.kill(Ending.stopped("the settings ask for another pool"))

    def _failed(self, child: ChildProcess, message: Message) -> None:
        raise StartFailed(message["error"], message["traceback"])


def said_bye(child: ChildProcess, message: Message) -> None:
    """Note that a child is about to end; its outcomes are stored, its other tasks released."""
    child.life.said_bye = True
    if not child.life.leaving:  # it leaves for a reason of its own
        child.life.leave(by=time.monotonic())
