"""Shows the supervisor that a child's loop turns."""

from __future__ import annotations

from collections.abc import Callable

from lavoro.runtime.service import Service
from lavoro.worker.scoreboard import Scoreboard

TICK = 0.1


class Heartbeat(Service):
    """Leaves a mark for the supervisor at each turn, and has the child look after itself."""

    name = "heartbeat"

    def __init__(self, board: Scoreboard, look: Callable[[], object]) -> None:
        super().__init__()
        self._board, self._look = board, look

    def step(self) -> float:
        """Leave a mark."""
        self._board.tick()
        self._look()
        return TICK
