"""Cameras: code of the application that looks at the state of all workers and tasks at regular times."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from lavoro.runtime.current_app import app_or_default
from lavoro.runtime.service import Service
from lavoro.signals import Signal

logger = logging.getLogger("lavoro.evcam")


_PER = {"s": 1.0, "m": 60.0, "h": 3600.0}


def rate(text: float | str | None) -> float:
    """Return a rate as a number per second; 0 for none. Raises ValueError.

    >>> rate("30/m"), rate(2)
    (0.5, 2.0)
    """
    number, _, per = str(text or 0).partition("/")
    try:
        return float(number) / _PER[per or "s"]
    except (KeyError, ValueError):
        raise ValueError(f"{text!r} is no rate: write it as 10/s, 100/m or 500/h") from None


class Repeated(Service):
    """Calls a function again and again."""

    name = "camera"

    def __init__(self, seconds: float, function: Callable[[], object]) -> None:
        super().__init__()
        self._seconds, self._function, self._next = seconds, function, time.monotonic() + seconds

    def step(self) -> float:
        """Call it if it is time."""
        if (left := self._next - time.monotonic()) > 0:
            return left
        self._next = time.monotonic() + self._seconds
        self._function()
        return self._seconds

    def cancel(self) -> None:
        """Call it no more."""
        self.stop(5)


class Timer:
    """Calls a camera."""

    def call_repeatedly(self, seconds: float, function: Callable[[], object]) -> Repeated:
        """Call a function each so many seconds, until its return value is cancelled."""
        repeated = Repeated(seconds, function)
        repeated.start()
        return repeated


class Polaroid:
    """Base of cameras: ``on_shutter`` is called with the state each ``freq`` seconds, while no event comes in.

    ``maxrate`` is the most pictures, such as ``10/m``. With ``clear_after`` the state is empty after each picture,
    except for tasks that have not ended. ``on_cleanup`` is called each ``cleanup_freq`` seconds::

        class Camera(Polaroid):
            clear_after = True

            def on_shutter(self, state):
                print(len(list(state.tasks_by_time())))
    """

    timer: Any = None
    shutter_signal = Signal(name="shutter_signal")
    cleanup_signal = Signal(name="cleanup_signal")
    clear_after = False
    _tref: Any = None
    _ctref: Any = None

    def __init__(
        self, state: Any, freq: float = 1.0, maxrate: int | str | None = None, cleanup_freq: float = 3600.0,
        timer: Any = None, app: Any = None,
    ) -> None:  # fmt: skip
        self.app = app_or_default(app)
        self.state = state
        self.freq = freq
        self.cleanup_freq = cleanup_freq
        self.timer = timer or self.timer or Timer()
        self.logger = logger
        self.maxrate = 1 / rate(maxrate) if rate(maxrate) else None
        """The fewest seconds between two pictures."""
        self._taken = -float("inf")

    def install(self) -> None:
        """Take pictures from now on."""
        self._tref = self.timer.call_repeatedly(self.freq, self.capture)
        self._ctref = self.timer.call_repeatedly(self.cleanup_freq, self.cleanup)

    def on_shutter(self, state: Any) -> None:
        """Called with the state; for subclasses."""

    def on_cleanup(self) -> None:
        """Called from time to time; for subclasses."""

    def cleanup(self) -> None:
        """Clean up."""
        logger.debug("Cleanup: Running...")
        self.cleanup_signal.send(sender=self.state)
        self.on_cleanup()

    def shutter(self) -> None:
        """Take a picture, unless the last one was taken too short a time ago."""
        now = time.monotonic()
        if self.maxrate is not None and now - self._taken < self.maxrate:
            return
        self._taken = now
        logger.debug("Shutter: %s", self.state)
        self.shutter_signal.send(sender=self.state)
        self.on_shutter(self.state)

    def capture(self) -> None:
        """Take a picture while no event comes in."""
        self.state.freeze_while(self.shutter, clear_after=self.clear_after)

    def cancel(self) -> None:
        """Take a last picture, and no more."""
        if self._tref:
            if callable(self._tref):
                self._tref()
            else:
                self.capture()
            self._tref.cancel()
        if self._ctref:
            self._ctref.cancel()

    def __enter__(self) -> Polaroid:
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


def evcam(
    camera: Any, freq: float = 1.0, maxrate: int | str | None = None, loglevel: Any = 0, logfile: Any = None,
    pidfile: Any = None, timer: Any = None, app: Any = None, limit: int | None = None, timeout: float | None = None,
    **_: Any,
) -> None:  # fmt: skip
    """Have a camera take pictures until the process is interrupted; ``camera`` is its class, or a dotted path.

    It also ends after ``limit`` events, and raises ``socket.timeout`` after ``timeout`` seconds without one.
    """
    app = app_or_default(app)
    state = app.events.State()
    made = app.subclass_with_self(camera)(state, app=app, freq=freq, maxrate=maxrate, timer=timer)
    with made:
        app.events.Receiver(handlers={"*": state.event}).capture(limit=limit, timeout=timeout)
