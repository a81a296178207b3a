"""The ticker of a worker: waits until a schedule is due, then sends its task."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

from lavoro.beat import dispatch
from lavoro.beat.entries import entries_of, synchronise
from lavoro.beat.problems import Problems
from lavoro.runtime.service import Service, jitter
from lavoro.store import schedules
from lavoro.store.errors import OUTAGE
from lavoro.store.schedules import Coming, Served
from lavoro.store.session import Session

logger = logging.getLogger("lavoro.beat")

LOOK = 60.0
"""Seconds between two looks for schedules where none is due; a notification tells of changes."""
POLL = 1.0
"""The same where no notification can be heard."""
SPARE = (0.5, 1.5)
"""Seconds for which a ticker leaves a due schedule to the one that served the last tick, before it does so itself."""
MARGIN = 0.005
"""Seconds by which a look is later than the time for which it waits: a timer may be early, and would find nothing."""
TOGETHER = 0.25
"""The shortest pause: ticks that come shortly one after the other are stored together, still ahead of their times."""
KEPT = 30.0
"""Seconds without a due schedule for which the connection stays open."""
ANSWER = 10.0
"""Seconds that a statement has for its answer."""


class Ticker(Service):
    """Sends the tasks of all schedules whose tasks this application knows.

    Any number of them may run: a row is locked while its ticks are sent, and each tick exists once. To spare statements
    a ticker that served the last tick looks at once when the next is due, and the others a moment later.
    """

    name = "ticker"
    expected = OUTAGE

    def __init__(self, app: Any, *, look: float | None = None) -> None:
        super().__init__()
        self._app = app
        self._look = min(LOOK if app.database.listens else POLL, look or LOOK)
        self._session = Session(app.database, "lavoro-schedules", patience=ANSWER)
        self._entries: dict[str, Any] = {}
        self._served = Served([], [])
        self._define = False
        self._problems = Problems()
        self._leads = True
        """Whether it looks at once when a schedule is due."""
        self._awaited = math.inf
        """When (monotonic) it looks for a schedule that is due then, and that another ticker may have served."""
        self._has_looked = False
        self.done: Callable[[], object] = lambda: None
        """Called once it is no longer ``overdue``."""

    def begin(self, *, define: bool) -> None:
        """Start, or look again; ``define``: store the entries of the code first."""
        self._define = self._define or define
        if self._thread is None:
            self._entries = entries_of(self._app).usable
            self._served = Served(sorted(self._app.tasks), sorted(self._entries))
            self.start()
        else:
            self.wake()

    def changed(self) -> None:
        """Look again: schedules have changed. Of all tickers the one that serves them may have gone."""
        self._leads, self._awaited = True, math.inf
        self.wake()

    @property
    def overdue(self) -> bool:
        """Whether it has begun, and has not looked for the first time: schedules may have been due for long."""
        return self._thread is not None and not self._has_looked

    def step(self) -> float:
        """Send what is due; return the seconds until the next schedule is due."""
        try:
            return self._send_due()
        finally:
            if not self._has_looked:
                self._has_looked = True
                self.done()

    def _send_due(self) -> float:
        with self._session:
            tx = self._session.open()
            if self._define:
                synchronise(self._app, tx)
                self._define = False
            served = 0
            while not self.stopping:
                found = dispatch.send_due(self._app, tx, self._served, self._entries)
                served += found
                if found < dispatch.PAGE:
                    break
            coming = schedules.coming(tx, self._served)
            self._problems.look(tx)
        self._learn(served, coming)
        return self._pause(coming)

    def _learn(self, served: int, coming: Coming) -> None:
        """Take in whether this ticker has served the schedules that were due, or another one.

        One that is due within `AHEAD` has been served by none: the task of its last tick has not ended.
        """
        if served or (self.due >= self._awaited and (coming.first is None or coming.first > schedules.AHEAD)):
            self._leads = bool(served)

    def _pause(self, coming: Coming) -> float:
        """Return the seconds until the next look: a ticker that does not lead leaves the others some time."""
        self._awaited = math.inf
        if coming.first is not None and coming.first <= 0:  # another ticker has locked it
            return jitter(*SPARE)
        seconds = _until(coming)
        if seconds > KEPT:
            self._session.close()
        if seconds > self._look:
            return self._look
        seconds += 0 if self._leads else jitter(*SPARE)
        self._awaited = time.monotonic() + seconds
        return seconds

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


def _until(coming: Coming) -> float:
    """Return the seconds until ticks are to be stored; infinity if none comes."""
    first, later = coming
    waits = math.inf if later is None else max(later - schedules.AHEAD + MARGIN, TOGETHER)
    return waits if first is None or first > schedules.AHEAD else min(waits, first + MARGIN)
