"""Functions of the standard library as they were before gevent patched them, and threads of the system."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

logger = logging.getLogger("lavoro.worker")

AGAIN = 1.0
"""Seconds from a step that failed to the next."""


def unpatched(module: str, name: str) -> Any:
    """Return a function of the standard library as it was before gevent patched it, if it did."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original(module, name) if monkey else getattr(import_module(module), name)


def patched(module: str = "threading") -> bool:
    """Whether gevent has patched this module of the standard library, as it has in a child with its pool."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched(module))


hub: Any = import_module("lavoro.runtime.hub") if patched("select") else None
"""Waits on gevent's hub; None where gevent had not patched when this was imported, as psycopg decides too."""


class NativeThread:
    """A loop in a thread of the operating system, also under gevent, so that a blocked loop does not stop it.

    ``step`` does one round and returns the seconds until the next. An error is logged, once until a step succeeds, and
    the loop continues. It ends with its process or after ``stop``, and a fork does not have it.
    """

    def __init__(self, name: str, step: Callable[[], float]) -> None:
        self._name, self._step = name, step
        self._failed = self._stopped = False

    def start(self) -> None:
        """Start the loop."""
        unpatched("_thread", "start_new_thread")(self._run, ())

    def stop(self) -> None:
        """Let the loop end before its next step."""
        self._stopped = True

    def _run(self) -> None:
        sleep: Callable[[float], object] = unpatched("time", "sleep")
        while not self._stopped:
            sleep(self._guarded_step())

    def _guarded_step(self) -> float:
        try:
            pause = self._step()
        except Exception:
            if not self._failed:
                logger.exception("%s failed, trying again", self._name)
            self._failed = True
            return AGAIN
        self._failed = False
        return pause
