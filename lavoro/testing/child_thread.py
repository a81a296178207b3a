"""The supervisor's side of a child that runs in threads of the same process."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import NamedTuple

from lavoro.app import Lavoro
from lavoro.exceptions import LavoroError
from lavoro.protocol.failure import traceback_of
from lavoro.testing.thread_child import JOIN, ThreadChild
from lavoro.worker.child.child import configure
from lavoro.worker.config import WorkerOptions
from lavoro.worker.pipe import Message, Pipe
from lavoro.worker.supervisor.fencing_process import FencingProcess
from lavoro.worker.supervisor.process import ChildProcess


class Reports(NamedTuple):
    """Functions that a child in threads calls, in these."""

    failed: Callable[[BaseException], object]
    """The application cannot be used."""
    ready: Callable[[], object]
    """It runs tasks, and ``worker_ready`` was sent."""
    interrupted: Callable[[list[str]], object]
    """These tasks still ran when it had to end."""
    ended: Callable[[], object]
    """It has ended."""


class Threads:
    """Stands for the process of a child."""

    def __init__(self, run: Callable[[], object], ended: Callable[[], object]) -> None:
        self.pid = os.getpid()
        self.returncode: int | None = None
        self._ended, self._tell = threading.Event(), ended
        self.thread = threading.Thread(target=run, name="lavoro-child", daemon=True)

    def poll(self) -> int | None:
        """Return the exit code; None while they run."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, at most for so many seconds."""
        self._ended.wait(timeout)
        return self.returncode or 0

    def end(self, code: int) -> None:
        """Take in that they have ended; the first code counts."""
        if self.returncode is None:
            self.returncode = code
        self._ended.set()
        self._tell()


class ChildThread(ChildProcess):
    """One child in threads: it has a pipe and a scoreboard as a process has them.

    It cannot be killed: its tasks are interrupted at their next bytecode, and what they return later is refused.
    """

    def __init__(self, app: Lavoro, options: WorkerOptions, pool: str, number: int, reports: Reports) -> None:
        self._app, self._options, self._reports = app, options, reports
        self._child: ThreadChild | None = None
        super().__init__(options, pool, number)

    def _start(self, pipe: int, quota: int | None) -> Threads:
        self._theirs = Pipe(socket.socket(fileno=os.dup(pipe)))
        self._shared = os.dup(self._memory)  # the supervisor may close its own while this child still begins
        threads = self._threads = Threads(self._run, self._reports.ended)
        threads.thread.start()
        return threads

    def _run(self) -> None:
        orders = self._told()
        next(orders, None)  # the options, as JSON
        try:
            config = replace(configure(self._app, self._options), retry_at_start=False)
        except BaseException as error:
            self._reports.failed(error)
            words = str(error) if isinstance(error, LavoroError) else f"{type(error).__name__}: {error}"
            self._theirs.send("failed", error=words, traceback=traceback_of(error), fatal=False)
            self._theirs.close()
            self._threads.end(1)
        else:
            self._theirs.send("hello", config=asdict(config))
            start = {
                "number": self.number,
                "scoreboard": self._shared,
                "ended": self._end,
                "failed": self._reports.failed,
            }
            self._child = ThreadChild(self._app, config, self._options, self._theirs, start)
            self._child.run(orders)
        finally:
            os.close(self._shared)

    def _told(self) -> Iterator[Message]:
        """Yield the orders; close the pipe when its other end is gone."""
        for order in self._theirs.messages():
            yield order
            if order["kind"] == "worker_ready":
                self._reports.ready()
        self._theirs.close()

    def _end(self, code: int, interrupted: list[str]) -> None:
        if interrupted and self.life.leaving:
            self._reports.interrupted(interrupted)
        self._threads.end(code)

    @property
    def has_ended(self) -> bool:
        """Whether its threads have ended, or were told to."""
        return self._threads.returncode is not None

    def fence(self, until: float) -> FencingProcess | None:
        """Nothing ends this process."""
        return None

    def close(self) -> None:
        """Wait for the thread that began it, which the end of the pipe has woken, and close the supervisor's files."""
        super().close()
        self._threads.thread.join(JOIN)

    def _send_signal(self, number: int, *, group: bool = False) -> None:
        if number == signal.SIGUSR1:
            faulthandler.dump_traceback(self.stack_dumps.descriptor, all_threads=True)
        elif number == signal.SIGKILL and self._threads.returncode is None:
            if self._child is not None:
                self._child.kill()
            with contextlib.suppress(OSError):  # it has closed the pipe itself
                self._theirs.socket.shutdown(socket.SHUT_RDWR)
            self._threads.end(-signal.SIGKILL)
