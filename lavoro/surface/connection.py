"""A connection to the broker as health checks use it, which asks the database."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from lavoro.config.absent import mark_missing
from lavoro.exceptions import OperationalError
from lavoro.store import queues
from lavoro.store.database import Database
from lavoro.store.errors import translated


class Declared(NamedTuple):
    """A queue: its name, the tasks that wait in it, the live worker nodes that serve it."""

    queue: str
    message_count: int
    consumer_count: int


class Channel:
    """The channel of a connection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def queue_declare(self, queue: str = "", passive: bool = False, **options: Any) -> Declared:
        """Count what waits in a queue and who serves it; a queue need not be declared."""
        nodes, _ = queues.workers_of(self._database, queue)
        waiting = sum(
            row.ready + row.scheduled + row.held for row in queues.queue_status(self._database) if row.queue == queue
        )
        return Declared(queue, waiting, len(nodes))

    def queue_purge(self, queue: str = "", **options: Any) -> int:
        """Delete what waits in a queue; return how many that was."""
        return queues.purge(self._database, [queue]).deleted

    def close(self) -> None:
        """Nothing is held open."""


class Connection:
    """A connection as `app.connection()` returns it: it is made when it is asked for, and tells whether it can be made.

    ::

        with app.connection() as connection:
            connection.ensure_connection(max_retries=1)  # raises OperationalError
    """

    connection_errors: tuple[type[Exception], ...] = (OperationalError,)
    recoverable_connection_errors: tuple[type[Exception], ...] = (OperationalError,)
    channel_errors: tuple[type[Exception], ...] = ()
    recoverable_channel_errors: tuple[type[Exception], ...] = ()

    def __init__(self, app: Any) -> None:
        self._app = app
        self._answered = False

    @property
    def connected(self) -> bool:
        """Whether the database answers; without a call of `connect` before, False."""
        if self._answered:
            try:
                self.connect()
            except OperationalError:
                self._answered = False
        return self._answered

    @property
    def default_channel(self) -> Channel:
        """The channel, which counts the tasks of queues."""
        return Channel(self._app.database)

    channel = default_channel

    def connect(self) -> Connection:
        """Ask the database once; raises OperationalError."""
        with translated(), self._app.database.engine.connect() as connection:
            connection.exec_driver_sql("select 1")
        self._answered = True
        return self

    def ensure_connection(
        self,
        errback: Callable[[Exception, float], object] | None = None,
        max_retries: int | None = None,
        interval_start: float = 2,
        interval_step: float = 2,
        interval_max: float = 30,
        callback: Callable[[], object] | None = None,
        **options: Any,
    ) -> Connection:
        """Ask the database until it answers, at most ``max_retries`` times more; None and 0 are without end.

        ``errback(error, interval)`` is called before each pause.
        """
        tries, pause = itertools.count(1), interval_start
        while True:
            try:
                return self.connect()
            except OperationalError as error:
                if max_retries and next(tries) > max_retries:
                    raise
                if errback is not None:
                    errback(error, pause)
            time.sleep(pause)
            if callback is not None:
                callback()
            pause = min(pause + interval_step, interval_max)

    def as_uri(self, include_password: bool = False, mask: str = "**") -> str:
        """Return the database's URL, without its password."""
        url: str = self._app.conf.table(True, not include_password).get("broker_url") or "postgresql://"
        return url

    def close(self) -> None:
        """Give the connection back."""
        self._answered = False

    release = close

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Connection: {self.as_uri()}>"


mark_missing(Connection, "connection")
