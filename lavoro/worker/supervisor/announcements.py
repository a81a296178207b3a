"""Tells the terminal, the log and systemd that the worker starts, is ready, or stops."""

from __future__ import annotations

import logging
from collections.abc import Callable

from lavoro.worker.supervisor.systemd import Systemd

logger = logging.getLogger("lavoro.worker")


class Announcements:
    """Writes to the log and to systemd; ``tell`` gets the same lines for the terminal, ``show`` the banner."""

    def __init__(
        self, tell: Callable[[str], object] | None = None, show: Callable[[str], object] | None = None
    ) -> None:
        self._tell, self._show = tell, show
        self.done = ""
        """The end of the last line: the number of tasks that were started, and of those that wait."""
        self._systemd = Systemd()

    def say(self, text: str) -> None:
        """Log a line about the start or the stop, whatever the level of the log is."""
        logger.handle(logger.makeRecord(logger.name, logging.INFO, __file__, 0, text, (), None))
        if self._tell is not None:
            self._tell(text)

    def begins(self, banner: Callable[[], str]) -> None:
        """Show the banner where there is a terminal."""
        if self._show is not None:
            self._show(banner())

    def ready(self, text: str) -> None:
        """Announce that all children are ready."""
        self.say(text)
        self._systemd.tell("READY=1", f"STATUS={text}")

    def stopping(self, why: str) -> None:
        """Announce that the worker begins to stop."""
        self._systemd.tell("STOPPING=1", f"STATUS={why}: stopping")

    def quiet(self, text: str) -> None:
        """Announce that the children rest, or claim again."""
        self.say(text)
        self._systemd.tell(f"STATUS={text}")

    def stopped(self) -> None:
        """Say that the worker has stopped."""
        self.say(f"stopped: {self.done}" if self.done else "stopped")

    def alive(self, now: float) -> None:
        """Tell systemd that no part of the worker hangs."""
        self._systemd.watch(now)
