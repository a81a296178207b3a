"""Reads frames, and acts on the database, in a thread of its own: keys work while the database does not answer."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable

from lavoro.app import Lavoro
from lavoro.exceptions import LavoroError
from lavoro.monitoring.top import Frame, Sampler
from lavoro.store.errors import OUTAGE, translated
from lavoro.store.tx import Tx

PATIENCE = 10.0
"""Seconds after which an answer is given up."""
SECOND = 0.5
"""Seconds to the second frame, which is the first one with rates."""
Act = Callable[[], str]
"""An action, which returns what it did."""


class Watch:
    """The latest frame, and the trouble of the last try."""

    def __init__(self, app: Lavoro, interval: float, tell: Callable[[], None]) -> None:
        self._app, self._interval, self._tell = app, interval, tell
        self._acts: queue.SimpleQueue[Act | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="lavoro-top", daemon=True)
        self.frame: Frame | None = None
        self.trouble: str | None = None
        self.said = ""
        """The effect of the last action."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the statement under way, but do not wait for it: a database may not answer."""
        self._acts.put(None)
        self._thread.join(0.5)

    def ask(self, act: Act) -> None:
        """Do that soon; another frame follows it."""
        self._acts.put(act)

    def _run(self) -> None:
        sampler = Sampler(self._app.database_shown)
        tx: Tx | None = None
        while True:
            begun = time.monotonic()
            try:
                with translated():
                    tx = tx or self._app.database.open("lavoro-top", patience=PATIENCE)
                    self.frame, self.trouble = sampler.sample(tx), None
            except OUTAGE as error:
                self.trouble = str(error)
                sampler.forget()
                _close(tx)
                tx = None
            self._tell()
            new = self.frame is not None and self.frame.seconds is None
            pause = min(self._interval, SECOND) if new else self._interval
            if not self._wait(begun + pause - time.monotonic()):
                _close(tx)
                return

    def _wait(self, seconds: float) -> bool:
        """Wait for the next frame, or an action, and do that; return False to end."""
        try:
            act = self._acts.get(timeout=max(seconds, 0.05))
        except queue.Empty:
            return True
        if act is None:
            return False
        try:
            self.said = act()
        except LavoroError as error:
            self.said = f"not done: {error}"
        return True


def _close(tx: Tx | None) -> None:
    if tx is not None:
        with contextlib.suppress(*OUTAGE):
            tx.connection.close()
