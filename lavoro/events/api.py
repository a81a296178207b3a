"""`app.events`: what hears, keeps and sends the events of an application."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from lavoro.events.dispatcher import EventDispatcher


class Events:
    """The classes of events, each of the application; a subclass may name others."""

    receiver_cls: Any = "lavoro.events.receiver:EventReceiver"
    dispatcher_cls: Any = "lavoro.events.dispatcher:EventDispatcher"
    state_cls: Any = "lavoro.events.state:State"

    def __init__(self, app: Any = None) -> None:
        self.app = app

    @cached_property
    def Receiver(self) -> Any:
        """The class that hears events: ``app.events.Receiver(connection, handlers={"*": print}).capture()``."""
        return self.app.subclass_with_self(self.receiver_cls, reverse="events.Receiver")

    @cached_property
    def Dispatcher(self) -> Any:
        """The class that sends events."""
        return self.app.subclass_with_self(self.dispatcher_cls, reverse="events.Dispatcher")

    @cached_property
    def State(self) -> Any:
        """The class that keeps what events have told of tasks and workers."""
        return self.app.subclass_with_self(self.state_cls, reverse="events.State")

    @contextlib.contextmanager
    def default_dispatcher(
        self, hostname: str | None = None, enabled: bool = True, buffer_while_offline: bool = False
    ) -> Iterator[EventDispatcher]:
        """Lend a dispatcher for a block."""
        with self.Dispatcher(None, hostname, enabled) as dispatcher:
            yield dispatcher
