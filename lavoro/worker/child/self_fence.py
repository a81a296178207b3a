"""Ends a child before its lease expires, whatever its tasks and its supervisor do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from lavoro.runtime.native import unpatched
from lavoro.worker.scoreboard import FENCE_MARGIN, Scoreboard


class SelfFence:
    """A thread of the operating system, also under gevent, so that a blocked loop does not stop it.

    The supervisor writes to the scoreboard until when the lease is certain. It no longer does when it is killed, is
    stopped, or has no database: after that time other nodes may run this child's tasks.
    """

    def __init__(self, scoreboard: Scoreboard, lease: float) -> None:
        self._scoreboard, self._margin = scoreboard, FENCE_MARGIN * lease
        self._sleep: Callable[[float], object] = unpatched("time", "sleep")

    def start(self) -> None:
        """Begin to watch."""
        unpatched("_thread", "start_new_thread")(self._watch, ())

    @property
    def left(self) -> float:
        """Seconds until this process ends unless its lease is renewed."""
        return self._scoreboard.trusted_until - self._margin - time.monotonic()

    def _watch(self) -> None:
        while (left := self.left) > 0:
            self._sleep(left)
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)  # with the programs that tasks have started
        os.kill(os.getpid(), signal.SIGKILL)
