"""A child process as its supervisor sees it: started, spoken to, ended, mourned."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
import uuid
from typing import Any, NamedTuple

from lavoro.store.workers import Rescue
from lavoro.worker.config import Wishes
from lavoro.worker.pipe import Message, Pipe
from lavoro.worker.scoreboard import Scoreboard, unnamed_file

_PATCH = "from gevent import monkey; monkey.patch_all(); "
"""Before anything else is imported: psycopg chooses its way of waiting when it is."""
_RUN = "import sys; from lavoro.worker.child.child import main; main(sys.argv[1])"


class Ending(NamedTuple):
    """Why we ended a child."""

    reason: str
    culprit: uuid.UUID | None = None
    """The task that ran past its hard limit."""
    suspects: tuple[uuid.UUID, ...] = ()
    """The tasks that may have caused the end; empty if none can have."""
    orderly: bool = False
    """Whether the worker had been told to stop, so that the starts of what still ran do not count."""


class ChildProcess:
    """One child: its process, pipe, board and, once it has one, its worker id.

    Only the supervisor's main thread acts on it; other threads may read ``ready`` and ``resting`` and use ``pipe``.
    It leads a session, so that a terminal's Ctrl-C reaches the supervisor alone, and so that what its tasks have
    started ends with it when it is ended by force.
    """

    def __init__(self, wishes: Wishes, *, pool: str, number: int) -> None:
        self.number, self.pool = number, pool
        self.started = time.monotonic()
        self.board: Scoreboard | None = None
        self.worker_id: int | None = None
        self.greeted = self.ready = self.resting = False
        self.idle = False
        """Whether it has held nothing for a while."""
        self.leave_by: float | None = None
        """When it has to be gone (monotonic; infinity: once its tasks have ended); None while it is to stay."""
        self.told_to_leave = math.inf
        self.replaced = False
        """Whether its successor has been started already."""
        self.hung_up: float | None = None
        """When it closed its end of the pipe."""
        self.left = False
        """Whether it has sent ``bye``: its tasks are stored or given back, as far as that was possible."""
        self.ending: Ending | None = None
        self._memory, self._stacks = unnamed_file(), unnamed_file()
        self._stacks_read = 0
        self.pipe, theirs = Pipe.pair()
        with theirs:
            self._process = self._start(theirs.fileno())
        self.pipe.send("wishes", **wishes.as_dict())  # not as an argument, which everybody can list

    def _start(self, pipe: int) -> subprocess.Popen[bytes]:
        descriptors = {"pipe": pipe, "board": self._memory, "stacks": self._stacks}
        argument = json.dumps({**descriptors, "number": self.number, "pool": self.pool})
        code = (_PATCH if self.pool == "gevent" else "") + _RUN
        command = [sys.executable, "-c", code, argument]
        return subprocess.Popen(command, pass_fds=tuple(descriptors.values()), start_new_session=True)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def over(self) -> bool:
        """Whether the process has ended. The pipe does not tell: forks of tasks hold copies of it.

        It stays a zombie until ``bury``, so that its number, and its group's, is given to no other process.
        """
        if self._process.returncode is None and hasattr(os, "waitid"):  # macOS has it since Python 3.13
            with contextlib.suppress(ChildProcessError):
                return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return self._process.poll() is not None

    @property
    def exitcode(self) -> int | None:
        """The exit code, negative for a signal; None before ``bury``."""
        return self._process.returncode

    # Speaking to it

    def lease(self, worker_id: int, *, slots: int, trusted_until: float, **facts: Any) -> Scoreboard:
        """Give it its worker id: now it may claim. Return the board on which it shows what it does."""
        self.worker_id = worker_id
        os.ftruncate(self._memory, Scoreboard.size(slots))
        self.board = Scoreboard(self._memory, slots)
        self.board.trust(trusted_until)
        self.pipe.send("lease", worker_id=worker_id, slots=slots, **facts)
        return self.board

    def stop(self, grace: float | None, *, how: str, sig: str | None, node: bool) -> None:
        """Ask it to leave within so many seconds (None: once its tasks have ended); ``node``: the whole worker does."""
        now = time.monotonic()
        self.leave_by = math.inf if grace is None else now + grace
        self.told_to_leave = min(self.told_to_leave, now)
        self.pipe.send("stop", grace=grace, how=how, sig=sig, node=node)

    def ask_for_stacks(self) -> None:
        """Have it write down what its threads are doing, which it does even while its loop is blocked."""
        if self.greeted:  # earlier, the signal would end it
            self._send_signal(signal.SIGUSR1)

    def stacks(self) -> str:
        """Return what it has written down since the last time."""
        text = os.pread(self._stacks, 65_536, self._stacks_read)
        self._stacks_read += len(text)
        return text.decode(errors="replace").strip()

    # Its end

    def kill(self, ending: Ending) -> None:
        """End it now, with all it has started. The first ending counts."""
        if self.ending is None:
            self.ending = ending
        self._send_signal(signal.SIGKILL, group=True)

    def wait(self, timeout: float) -> None:
        """Wait for its end, for so many seconds at the most."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def bury(self) -> list[Message]:
        """Kill its process group, take its exit code, and return its last messages, without waiting.

        The group ends first, while the zombie keeps its number: a fork in it may still write to the pipe.
        """
        if self._process.returncode is None:
            self._send_signal(signal.SIGKILL, group=True)
            self._process.poll()
        return self.pipe.last_words()

    @property
    def crashed(self) -> bool:
        """Whether it ended without an order, or, if it had a lease, without ``bye``."""
        in_order = self.exitcode == 0 and self.leave_by is not None and (self.left or self.worker_id is None)
        return self.ending is None and not in_order

    @property
    def suspects(self) -> tuple[uuid.UUID, ...]:
        """The tasks that may have ended it: those that run, and those that have just ended.

        A task may leave something behind that ends the process a moment later: a timer, a thread, a closed descriptor.
        A task that has ended counts only if its outcome was not stored.
        """
        if self.board is None:
            return ()
        return (*(entry.id for entry in self.board.entries()), *self.board.ended())

    def obituary(self) -> str:
        """Say how it ended."""
        code = self.exitcode
        if self.ending:
            return self.ending.reason
        if code is not None and code < 0:
            return f"worker process {self.pid} was ended by signal {-code} ({_signal_name(-code)})"
        return f"worker process {self.pid} exited with code {code}"

    def rescue(self) -> Rescue | None:
        """Say what is to be done about the tasks it held; None if it never had a lease."""
        if self.worker_id is None or self.board is None:
            return None
        if self.crashed:
            return Rescue(self.worker_id, self.obituary(), list(self.suspects), told=f"worker process {self.pid}")
        ending = self.ending or Ending(self.obituary(), orderly=True)
        return Rescue(
            self.worker_id, ending.reason, list(ending.suspects), ending.culprit, blameless=not ending.suspects,
            orderly=ending.orderly,
        )  # fmt: skip

    def close(self) -> None:
        """Give back what is held for it, once it is gone."""
        self.pipe.close()
        if self.board is not None:
            self.board.close()
        os.close(self._memory)
        os.close(self._stacks)

    def _send_signal(self, number: int, *, group: bool = False) -> None:
        """Send it by number: ``Popen`` would look for the end first, and take the zombie away that `bury` needs."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.killpg if group else os.kill)(self.pid, number)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
