"""Sends events of code: each is stored if a monitor listens, else nothing is done."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable
from typing import Any

from lavoro.events.event import Event, anon_nodename, group_from, utcoffset
from lavoro.exceptions import OperationalError
from lavoro.runtime.current_app import app_or_default
from lavoro.store import events
from lavoro.text.printable import described

logger = logging.getLogger("lavoro.events")


class EventDispatcher:
    """Sends events to the monitors that listen.

    ``hostname`` is the name in whose the events are sent, by default one of this process. ``groups`` are the first
    parts of the types that are sent, by default all; with ``enabled=False`` none is. Options of connections and buffers
    are passed over: each event is sent at once::

        with app.events.default_dispatcher() as dispatcher:
            dispatcher.send("invoice-paid", number=17)
    """

    app: Any = None

    def __init__(
        self, connection: Any = None, hostname: str | None = None, enabled: bool = True, channel: Any = None,
        buffer_while_offline: bool = True, app: Any = None, serializer: str | None = None,
        groups: Iterable[str] | None = None, delivery_mode: int = 1, buffer_group: Any = None, buffer_limit: int = 24,
        on_send_buffered: Any = None,
    ) -> None:  # fmt: skip
        self.app = app_or_default(app or self.app)
        self.connection = connection
        self.hostname = hostname or anon_nodename()
        self.enabled = enabled
        self.groups = set(groups or ())
        self.on_enabled: set[Callable[[], object]] = set()
        self.on_disabled: set[Callable[[], object]] = set()
        self.pid = os.getpid()

    def __enter__(self) -> EventDispatcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def enable(self) -> None:
        """Send events from now on."""
        self.enabled = True
        for callback in self.on_enabled:
            callback()

    def disable(self) -> None:
        """Send no events from now on."""
        if self.enabled:
            self.enabled = False
            for callback in self.on_disabled:
                callback()

    def send(
        self, type: str, blind: bool = False, utcoffset: Callable[[], int] = utcoffset, retry: bool = False,
        retry_policy: Any = None, Event: Callable[..., dict[str, Any]] = Event, **fields: Any,
    ) -> None:  # fmt: skip
        """Send an event, with fields that JSON can carry; others are sent as their repr.

        A group and a name make the type, such as ``task-progress``. An event that cannot be stored is logged as a
        warning: no code fails because of a monitor. ``retry`` and ``retry_policy`` are passed over.
        """
        if not self.enabled or (self.groups and group_from(type) not in self.groups):
            return
        event = Event(type, hostname=self.hostname, utcoffset=utcoffset(), pid=self.pid, **fields)
        text = json.dumps(event, default=described)
        try:
            with self.app.database.tx() as tx:
                events.send(tx, type, text)
        except OperationalError as error:
            logger.warning("the event %s was not sent: %s", type, error)

    def publish(
        self, type: str, fields: dict[str, Any], producer: Any, blind: bool = False,
        Event: Callable[..., dict[str, Any]] = Event, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Send an event; a producer is passed over."""
        self.send(type, Event=Event, **fields)

    def flush(self, errors: bool = True, groups: bool = True) -> None:
        """Do nothing: no event waits here."""

    def extend_buffer(self, other: Any) -> None:
        """Do nothing: no event waits here."""

    def close(self) -> None:
        """Do nothing: the connection belongs to the application."""
