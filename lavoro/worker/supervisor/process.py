"""A child process as its supervisor sees it: its start, its messages and its end."""

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
from typing import Any, Protocol

from lavoro.store.workers import Ending, Rescue
from lavoro.worker.config import WorkerOptions
from lavoro.worker.pipe import Message, Pipe
from lavoro.worker.scoreboard import Scoreboard, unnamed_file
from lavoro.worker.supervisor.fencing_process import FencingProcess
from lavoro.worker.supervisor.lifecycle import Lifecycle, State
from lavoro.worker.supervisor.stack_dumps import StackDumps

PATCH = (
    "from importlib import metadata; from gevent import monkey; find = metadata.entry_points;"
    " metadata.entry_points = find().select; monkey.patch_all(); metadata.entry_points = find; "
)
"""Before any other import: psycopg chooses its way of waiting when it is imported.

gevent asks 25 times for plugins; to read all installed packages each time takes a tenth of the start."""
_COLLECT_NOTHING = "import gc; gc.disable(); "
"""While modules are imported: they stay, and to search them for garbage takes a tenth of the start."""
_RUN = "import sys; from lavoro.worker.child.child import main; main(sys.argv[1])"


class Process(Protocol):
    """The part of ``Popen`` that is used here."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...


class ChildProcess:
    """One child: its process, pipe, scoreboard and, once it has one, its worker id.

    Only the supervisor's main thread acts on it; other threads may read ``life`` and ``sleeping`` and use ``pipe``.
    It leads a session, so that a terminal's Ctrl-C reaches the supervisor alone, and so that the programs of its tasks
    are killed with it.
    """

    def __init__(self, options: WorkerOptions, pool: str, number: int) -> None:
        self.number, self.pool = number, pool
        self.life = Lifecycle()
        self.scoreboard: Scoreboard | None = None
        self.worker_id: int | None = None
        self.sleeping = False
        """Whether it waits for a notification."""
        self.idle = False
        """Whether it has had no task in flight for a while."""
        self.ending: Ending | None = None
        """The reason for which we ended it."""
        self.stack_dumps = StackDumps()
        self._memory = unnamed_file()
        self.pipe, theirs = Pipe.pair()
        with theirs:
            self._process: Process = self._start(theirs.fileno(), options.quota)
        self.pipe.send("options", **options.as_dict())  # not as an argument, which all users of the machine can list

    def _start(self, pipe: int, quota: int | None) -> Process:
        descriptors = {"pipe": pipe, "scoreboard": self._memory, "stacks": self.stack_dumps.descriptor}
        argument = json.dumps({**descriptors, "number": self.number, "pool": self.pool})
        code = _COLLECT_NOTHING + (PATCH if self.pool == "gevent" else "") + _RUN
        command = [sys.executable, "-c", code, argument]
        inherited = (*descriptors.values(), *([] if quota is None else [quota]))
        return subprocess.Popen(command, pass_fds=inherited, start_new_session=True)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended. The pipe does not tell: forks of tasks hold copies of it.

        It stays a zombie until ``reap``, so that its number, and its group's, is given to no other process.
        """
        if self._process.returncode is None and hasattr(os, "waitid"):  # macOS has it since Python 3.13
            with contextlib.suppress(ChildProcessError):
                return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return self._process.poll() is not None

    @property
    def exitcode(self) -> int | None:
        """The exit code, negative for a signal; None before ``reap``."""
        return self._process.returncode

    # Messages and signals

    def lease(self, worker_id: int, *, slots: int, trusted_until: float, **facts: Any) -> Scoreboard:
        """Give it its worker id: now it may claim. Return the scoreboard on which it shows what it does."""
        self.worker_id = worker_id
        os.ftruncate(self._memory, Scoreboard.size(slots))
        self.scoreboard = Scoreboard(self._memory, slots)
        self.scoreboard.trust(trusted_until)
        self.pipe.send("lease", worker_id=worker_id, slots=slots, **facts)
        return self.scoreboard

    def resize(self, slots: int) -> None:
        """Have it change the number of its slots as it works; before its lease it has none."""
        if self.scoreboard is not None and self.scoreboard.slots != slots and not self.life.leaving:
            self.scoreboard.resize(slots)  # first: a new slot writes there
            self.pipe.send("slots", slots=slots)

    def stop(self, grace: float | None, *, how: str, sig: str | None, node: bool, together: bool = False) -> None:
        """Ask it to leave within so many seconds (None: once its tasks have ended); ``node``: the whole worker does.

        ``together``: it says when its tasks have ended, and then waits until it is let go.
        """
        self.life.leave(by=math.inf if grace is None else time.monotonic() + grace)
        self.pipe.send("stop", grace=grace, how=how, sig=sig, node=node, together=together)

    def request_stacks(self) -> None:
        """Have it write a stack dump, which it does even while its loop is blocked."""
        if self.life.loaded:  # earlier, the signal would end it
            self._send_signal(signal.SIGUSR1)

    def fence(self, until: float) -> FencingProcess | None:
        """Start a process that ends it at that moment (monotonic), even if this one is dead or stopped."""
        return FencingProcess(self.pid, until=until)

    # Its end

    def kill(self, ending: Ending) -> None:
        """Kill it, with the programs of its tasks. The first ending counts."""
        if self.ending is None:
            self.ending = ending
        self._send_signal(signal.SIGKILL, group=True)

    def wait(self, timeout: float) -> None:
        """Wait for its end, at most for so many seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def reap(self) -> list[Message]:
        """Kill its process group, take its exit code, and return its final messages, without waiting.

        The group ends first, while the zombie keeps its number: a fork in it may still write to the pipe.
        """
        if self._process.returncode is None:
            self._send_signal(signal.SIGKILL, group=True)
            self._process.poll()
        self.life.reach(State.GONE)
        return self.pipe.final_messages()

    @property
    def crashed(self) -> bool:
        """Whether it ended without an order, or, if it had a lease, without ``bye``."""
        in_order = self.exitcode == 0 and self.life.leaving and (self.life.said_bye or self.worker_id is None)
        return self.ending is None and not in_order

    @property
    def started_tasks(self) -> tuple[uuid.UUID, ...]:
        """The tasks that may have ended it: those that run, and those that have just ended.

        A task may leave something behind that ends the process a moment later: a timer, a thread, a closed descriptor.
        A task that has ended counts only if its outcome was not stored.
        """
        if self.scoreboard is None:
            return ()
        return (*(entry.id for entry in self.scoreboard.entries()), *self.scoreboard.ended())

    @property
    def exit_reason(self) -> str:
        """How it ended, for the log and the errors of its tasks."""
        code = self.exitcode
        if self.ending:
            return self.ending.reason
        if code is not None and code < 0:
            return f"worker process {self.pid} was ended by signal {-code} ({_signal_name(-code)})"
        return f"worker process {self.pid} exited with code {code}"

    def rescue(self) -> Rescue | None:
        """Return the rescue of its tasks; None if it never had a lease."""
        if self.worker_id is None or self.scoreboard is None:
            return None
        if self.crashed:
            ending = Ending.crashed(self.exit_reason, self.started_tasks, told=f"worker process {self.pid}")
        else:
            ending = self.ending or Ending.stopped(self.exit_reason)
        return Rescue(self.worker_id, ending)

    def close(self) -> None:
        """Close its pipe and its files, once it is gone."""
        self.pipe.close()
        if self.scoreboard is not None:
            self.scoreboard.close()
        self.stack_dumps.close()
        os.close(self._memory)

    def _send_signal(self, number: int, *, group: bool = False) -> None:
        """Send a signal, not by ``Popen``: that would reap the zombie first, which ``reap`` needs."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.killpg if group else os.kill)(self.pid, number)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
