"""Tells a person, the log and systemd that the worker starts, is ready, stops."""

from __future__ import annotations

import logging
from collections.abc import Callable

from lavoro.worker.supervisor.systemd import Systemd

logger = logging.getLogger("lavoro.worker")


class Announcements:
    """``tell`` gets the lines for a person."""

    def __init__(self, tell: Callable[[str], object] | None = None) -> None:
        self._tell = tell
        self._systemd = Systemd()

    def say(self, text: str) -> None:
        """Log a line about the start or the stop, whatever the level of the log is."""
        logger.handle(logger.makeRecord(logger.name, logging.INFO, __file__, 0, text, (), None))
        if self._tell is not None:
            self._tell(text)

    def ready(self, text: str) -> None:
        """All children are ready."""
        self.say(text)
        self._systemd.tell("READY=1", f"STATUS={text}")

    def stopping(self, why: str) -> None:
        """The worker begins to stop."""
        self._systemd.tell("STOPPING=1", f"STATUS={why}: stopping")

    def alive(self, now: float) -> None:
        """The worker works, and no part of it hangs."""
        self._systemd.watch(now)
