"""The states of a child's life, in their order, each with the time at which it began."""

from __future__ import annotations

import enum
import math
import time


class State(enum.IntEnum):
    """A child only moves forward; it may leave from any state, and end in any."""

    STARTING = 0
    """The process imports the application."""
    LOADED = 1
    """It has sent ``hello``, and waits for its lease."""
    READY = 2
    """It runs tasks."""
    LEAVING = 3
    """It was told to stop, or stops by itself; its tasks may still run."""
    GONE = 4
    """It was reaped."""


class Lifecycle:
    """The states that a child has reached; states may be left out: a child may leave before it is ready."""

    def __init__(self) -> None:
        self._since = {State.STARTING: time.monotonic()}
        self.leave_by = math.inf
        """When a leaving child has to be gone (monotonic); infinity: once its tasks have ended."""
        self.pipe_closed_at = math.inf
        """When it closed its end of the pipe."""
        self.said_bye = False
        """Whether its tasks are stored or released, as far as that was possible."""
        self.replaced = False
        """Whether its successor was started before its end."""

    @property
    def state(self) -> State:
        """The last state that it has reached."""
        return max(self._since)

    def reach(self, state: State) -> None:
        """Begin a state; only the first time counts."""
        self._since.setdefault(state, time.monotonic())

    def since(self, state: State) -> float:
        """When it reached a state (monotonic); infinity: not yet."""
        return self._since.get(state, math.inf)

    def leave(self, *, by: float) -> None:
        """Begin to leave, or set another time by which it has to be gone."""
        self.reach(State.LEAVING)
        self.leave_by = by

    @property
    def loaded(self) -> bool:
        """Whether it has loaded the application, whatever came after."""
        return State.LOADED in self._since

    @property
    def ready(self) -> bool:
        """Whether it has begun to run tasks, whatever came after."""
        return State.READY in self._since

    @property
    def leaving(self) -> bool:
        """Whether it leaves, or has left."""
        return State.LEAVING in self._since
