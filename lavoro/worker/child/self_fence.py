"""Ends a child before its lease expires, whatever its tasks and its supervisor do."""

from __future__ import annotations

import os
import signal
import time

from lavoro.runtime.native import NativeThread
from lavoro.worker.scoreboard import FENCE_MARGIN, Scoreboard


class SelfFence:
    """A thread of the operating system, also under gevent, so that a blocked loop does not stop it.

    The supervisor writes to the scoreboard until when the lease is certain. It no longer does when it is killed, is
    stopped, or has no database: after that time other nodes may run this child's tasks.
    """

    def __init__(self, scoreboard: Scoreboard, lease: float) -> None:
        self._scoreboard, self._margin = scoreboard, FENCE_MARGIN * lease

    def start(self) -> None:
        """Begin to watch."""
        NativeThread("self-fence", self._watch).start()

    @property
    def left(self) -> float:
        """Seconds until this process ends unless its lease is renewed."""
        return self._scoreboard.trusted_until - self._margin - time.monotonic()

    def _watch(self) -> float:
        if (left := self.left) > 0:
            return left
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)  # with the programs that tasks have started
        os.kill(os.getpid(), signal.SIGKILL)
        return 0.0
