"""Shows the supervisor that a child's loop turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from lavoro import signals
from lavoro.runtime.service import Service
from lavoro.worker.scoreboard import Scoreboard

TICK = 0.1
SENT_EVERY = 2.0
"""Seconds between two `heartbeat_sent`, as in Celery."""


class Heartbeat(Service):
    """Writes the time to the scoreboard ten times a second, and then calls the ``checks`` of the child.

    ``sender`` is that of the signal ``heartbeat_sent``; None sends none.
    """

    name = "heartbeat"

    def __init__(
        self, scoreboard: Scoreboard, checks: Sequence[Callable[[], object]], *, sender: object = None
    ) -> None:
        super().__init__()
        self._scoreboard, self._checks, self._sender = scoreboard, checks, sender
        self._send_at = 0.0

    def step(self) -> float:
        """Write the time, and call the checks."""
        self._scoreboard.tick()
        for check in self._checks:
            check()
        if signals.heartbeat_sent and self._sender is not None:
            self._send(self._sender)
        return TICK

    def _send(self, sender: object) -> None:
        if (now := time.monotonic()) >= self._send_at:
            self._send_at = now + SENT_EVERY
            signals.heartbeat_sent.send(sender)
