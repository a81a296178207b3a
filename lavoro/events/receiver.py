"""Hears events: a monitor's loop, which looks at the database and calls handlers."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import Any

from lavoro.events.event import Clock, Told, adjust_timestamp, fits
from lavoro.events.feed import Feed
from lavoro.exceptions import OperationalError
from lavoro.protocol.ids import uuid7
from lavoro.runtime.current_app import app_or_default
from lavoro.store.errors import first_line
from lavoro.store.listener import Listener

logger = logging.getLogger("lavoro.events")

Handler = Callable[[Told], object]

SOONEST, LATEST = 0.2, 1.0
"""Seconds between two looks: after one that found something, and at most."""
CLIENT_CLOCK_SKEW = -1
HEARD = 10.0
"""Seconds until the receiver goes on without hearing events of code."""


class EventReceiver:
    """Hears the events that happen from its first look on.

    ``handlers`` has functions by types of events, and under ``"*"`` the one for all others; each gets the event as a
    dict. The tasks of those workers are told that have the option ``-E``; workers, and events of code, always are::

        receiver = app.events.Receiver(connection, handlers={"task-failed": tell, "*": state.event})
        receiver.capture(limit=None, timeout=None)

    ``routing_key`` chooses the types (``"task.#"``). ``channel`` is passed over, and so are options of queues.
    """

    app: Any = None

    def __init__(
        self, channel: Any = None, handlers: Mapping[str, Handler] | None = None, routing_key: str = "#",
        node_id: str | None = None, app: Any = None, queue_prefix: str | None = None, accept: Any = None,
        queue_ttl: Any = None, queue_expires: Any = None, queue_exclusive: bool | None = None,
        queue_durable: bool | None = None,
    ) -> None:  # fmt: skip
        self.app = app_or_default(app or self.app)
        self.channel = channel
        self.handlers: Mapping[str, Handler] = {} if handlers is None else handlers
        self.routing_key = routing_key
        self.node_id = node_id or str(uuid7())
        self.should_stop = False
        """Set it to end `capture` at the next look."""
        self.clock = Clock()
        self.adjust_clock, self.forward_clock = self.clock.adjust, self.clock.forward
        self._feed: Feed | None = None
        self._wake = threading.Event()

    @property
    def connection(self) -> Any:
        """The channel that was given."""
        return self.channel

    def capture(self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True) -> None:
        """Call handlers for events, until there were ``limit`` of them.

        Raises ``socket.timeout`` after ``timeout`` seconds without an event. An outage of the database is waited out:
        the receiver goes on where it was. ``wakeup`` is passed over: live nodes are told first in any case.
        """
        for _ in self.itercapture(limit=limit, timeout=timeout, wakeup=wakeup):
            pass

    def itercapture(
        self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True
    ) -> Iterator[None]:
        """Call handlers for events, as `capture` does, and yield after each event."""
        listener = self._listen()
        try:
            for _ in zip(range(limit) if limit else itertools.count(), self._events(timeout), strict=False):
                yield
        finally:
            if listener is not None:
                listener.stop(5)

    def process(self, type: str, event: Told) -> None:
        """Call the handler for a type."""
        handler = self.handlers.get(type) or self.handlers.get("*")
        if handler is not None:
            handler(event)

    def wakeup_workers(self, channel: Any = None) -> None:
        """Have workers renew their leases."""
        self.app.control.heartbeat()

    def event_from_message(
        self, body: Told, localize: bool = True, now: Callable[[], float] = time.time,
        tzfields: Callable[[Told], tuple[int, float]] = itemgetter("utcoffset", "timestamp"),
        adjust_timestamp: Callable[[float, int], float] = adjust_timestamp, CLIENT_CLOCK_SKEW: int = CLIENT_CLOCK_SKEW,
    ) -> tuple[str, Told]:  # fmt: skip
        """Complete an event: its clock, its time by the zone of this process, and when it was received."""
        if body["type"] == "task-sent":  # clocks of senders are not known
            body["clock"] = (self.clock.value or 1) + CLIENT_CLOCK_SKEW
            self.adjust_clock(body["clock"])
        elif "clock" in body:
            self.adjust_clock(body["clock"])
        else:
            body["clock"] = self.forward_clock()
        if localize and "utcoffset" in body and "timestamp" in body:
            offset, timestamp = tzfields(body)
            body["timestamp"] = adjust_timestamp(timestamp, offset)
        body["local_received"] = now()
        return body["type"], body

    def _events(self, timeout: float | None) -> Iterator[None]:
        """Look again and again, and yield after each event that was processed."""
        last, pause = time.monotonic(), SOONEST
        while not self.should_stop:
            self._wake.clear()
            for event in self._look():
                self.process(*self.event_from_message(event))
                last, pause = time.monotonic(), SOONEST / 2
                yield
            if timeout and time.monotonic() - last >= timeout:
                raise TimeoutError(f"no event came within {timeout} seconds")
            if not self._feed or not self._feed.more:
                pause = min(2 * pause, LATEST)
                self._wake.wait(min(pause, timeout or pause))

    def _look(self) -> list[Told]:
        """Read what is new; of an outage after the first look the log tells."""
        try:
            if self._feed is None:
                feed = Feed(self.app)
                found, self._feed = feed.look(), feed
            else:
                found = self._feed.look()
        except OperationalError as error:
            if self._feed is None:
                raise
            logger.warning("the database does not answer, trying again: %s", first_line(error))
            return []
        return [event for event in found if fits(event["type"], self.routing_key)]

    def _listen(self) -> Listener | None:
        """Listen for events of code, which are sent only while a monitor listens."""
        database = self.app.database
        if not database.listens:
            logger.warning(
                "through a pooler no events of code are heard, only those of tasks and workers: set lavoro_direct_url"
            )
            return None
        listener = Listener(database, "event", lambda _: self._wake.set())
        listener.start()
        listener.want(["events"])
        listener.wait_until_heard(HEARD)
        return listener
