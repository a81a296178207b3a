"""How long a claimer without tasks waits: it polls, and sleeps once its supervisor listens for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum

QUICK = (0.005, 0.02, 0.1)
"""Seconds between the first polls without a task: they find a task whose sender saw no sleeping worker."""
SLEEPING = 120
"""Factor of the poll interval while the supervisor listens: 500 sleeping nodes cost a database little."""
WHILE_BUSY = 0.05
"""Seconds between scans for new lanes while busy: a queue or priority without tasks lately is seen this late."""


class State(Enum):
    """Whether notifications tell the claimer of new tasks."""

    AWAKE = "it claims, and needs no notification"
    ASKED = "it has asked the supervisor to listen, which does not do so yet, or no longer"
    LISTENING = "the supervisor listens"


class Sleep:
    """The agreement with the supervisor, which listens for notifications only while a claimer has asked for it.

    ``ask`` tells the supervisor: True to listen, False to stop. The answer comes in another thread, by ``confirm`` or
    ``lost``.
    """

    def __init__(
        self, ask: Callable[[bool], object], *, poll_interval: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.state = State.AWAKE
        self._ask, self._poll_interval, self.clock = ask, poll_interval, clock
        self._changing = threading.Lock()
        """Over ``state``: an answer that comes while the claimer wakes up must not make it sleep."""
        self._polls = 0
        """The number of polls since the last task."""
        self._listening_since = 0.0
        """When the supervisor began to listen for us."""

    # The claimer's side

    @property
    def listening(self) -> bool:
        """Whether the supervisor listens."""
        return self.state is State.LISTENING

    def begin(self) -> None:
        """Ask the supervisor to listen, unless we have."""
        if self.state is State.AWAKE:
            self._set(State.ASKED)
            self._ask(True)

    def end(self) -> None:
        """Stay awake: with so many tasks the claimer polls without a notification."""
        if self.state is not State.AWAKE:
            self._set(State.AWAKE)
            self._ask(False)

    def worked(self) -> None:
        """Begin with short pauses again: there was a task."""
        self._polls = 0

    def covers(self, scanned: float) -> bool:
        """Whether a scan at that time and notifications since then tell of every lane."""
        enough = self._poll_interval / 2 if scanned >= self._complete_since else WHILE_BUSY
        return self.listening and self.clock() - scanned < enough

    def pause(self, settled: float) -> float:
        """Return the seconds until the next poll; ``settled``: when a scan left nothing open, or minus infinity.

        Long only after such a scan that missed nothing: not after a claim alone.
        """
        nth, self._polls = self._polls, self._polls + 1
        if nth < len(QUICK):
            return QUICK[nth]
        return self._poll_interval * (SLEEPING if self.listening and settled >= self._complete_since else 1)

    @property
    def _complete_since(self) -> float:
        """When each stored task began to be notified: senders that saw no sleeping worker have committed by then."""
        return self._listening_since + self._poll_interval

    # The supervisor's answers

    def confirm(self) -> None:
        """Take in that the supervisor listens from now on; tasks that were stored just before were not notified."""
        self._answered(State.LISTENING)

    def lost(self) -> None:
        """Take in that the supervisor cannot listen."""
        self._answered(State.ASKED)

    def _answered(self, state: State) -> None:
        self._listening_since = self.clock()
        self._polls = 0
        with self._changing:
            if self.state is not State.AWAKE:
                self.state = state

    def _set(self, state: State) -> None:
        with self._changing:
            self.state = state
