"""A child process as its supervisor sees it: started, spoken to, watched, ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

from lavoro.worker.board import Board
from lavoro.worker.pipe import Pipe
from lavoro.worker.plan import Wishes

_PATCH = "from gevent import monkey; monkey.patch_all(); "
"""Before anything else is imported: psycopg chooses its way of waiting when it is."""
_RUN = "import sys; from lavoro.worker.child import main; main(sys.argv[1])"


class ChildProcess:
    """One child: its process, pipe, board and, once it has one, its worker id."""

    def __init__(self, wishes: Wishes, *, pool: str, number: int) -> None:
        self.number, self.pool = number, pool
        self._memory = Board.unnamed_file()
        self.pipe, theirs = Pipe.pair()
        self.started = time.monotonic()
        argument = {"pipe": theirs.fileno(), "board": self._memory, "number": number, "wishes": wishes.as_dict()}
        code = (_PATCH if pool == "gevent" else "") + _RUN
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, json.dumps(argument)], pass_fds=(theirs.fileno(), self._memory)
        )
        theirs.close()
        self.board: Board | None = None
        self.worker_id: int | None = None
        self.ready = False
        self.resting = False
        self.stopping = False
        self.end_reason: str | None = None
        """Why we ended it; None while it lives, and when it ended by itself."""
        self.culprit: Any = None
        self.blameless = False

    def fileno(self) -> int:
        """The pipe's descriptor, for ``select``."""
        return self.pipe.fileno()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exitcode(self) -> int | None:
        """The exit code, negative for a signal; None while it lives."""
        return self._process.poll()

    def lease(self, worker_id: int, *, slots: int, **facts: Any) -> None:
        """Give it its worker id: now it may claim."""
        self.worker_id = worker_id
        os.ftruncate(self._memory, Board.size(slots))
        self.board = Board(self._memory, slots)
        self.pipe.send("lease", worker_id=worker_id, slots=slots, **facts)

    def stop(self, *, grace: float, how: str, sig: str | None = None) -> None:
        """Ask it to leave within so many seconds."""
        self.stopping = True
        self.pipe.send("stop", grace=grace, how=how, sig=sig)

    def kill(self, reason: str, *, culprit: Any = None, blameless: bool = False) -> None:
        """End it now; what it ran is rescued with this reason."""
        if self.end_reason is None:
            self.end_reason, self.culprit, self.blameless = reason, culprit, blameless
        self._process.send_signal(signal.SIGKILL)

    def wait(self, timeout: float) -> bool:
        """Wait for its end; tell whether it came."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def obituary(self) -> str:
        """Say how it ended."""
        code = self.exitcode
        if self.end_reason:
            return self.end_reason
        if code is not None and code < 0:
            return f"worker process {self.pid} was ended by signal {-code} ({_signal_name(-code)})"
        return f"worker process {self.pid} exited with code {code}"

    def close(self) -> None:
        """Give back what is held for it."""
        self.pipe.close()
        if self.board is not None:
            self.board.close()
        else:
            os.close(self._memory)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
