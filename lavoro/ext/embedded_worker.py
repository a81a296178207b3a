"""A worker beside a web process: one per machine, started again when it dies, gone when the web process is gone."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lavoro.runtime.forking import in_each_fork
from lavoro.runtime.service import Service

logger = logging.getLogger("lavoro.worker")

LOOK = 1.0
"""Seconds between two looks whether the worker lives, or whether this process may start it now."""
LONGEST_PAUSE = 60.0
"""Seconds to which the pause before another start doubles; a worker that lived longer is started again at once."""


class EmbeddedWorker(Service):
    """A ``lavoro worker`` that belongs to this process.

    It is a process of its own, so that a busy web process cannot starve it. ``arguments`` are those of ``lavoro
    worker``. Of all processes on the machine that name the same ``site``, the one that gets the lock runs the worker;
    when that process ends, another takes over. ``patience`` is how many seconds ``stop`` waits for running tasks. Both
    are asked late, when the settings are complete.
    """

    name = "embedded worker"

    def __init__(
        self, arguments: Sequence[str], *, site: Callable[[], str], patience: Callable[[], float] = lambda: 0.0
    ) -> None:
        super().__init__()
        self.arguments = list(arguments)
        """Of ``lavoro worker``."""
        self._site = site
        self._patience = patience
        self._pause = 0.0
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        """A pipe's end that closes with this process, even when it is killed; the worker watches the other end."""
        self._starting = threading.Lock()
        in_each_fork(self._forget)

    @property
    def pid(self) -> int | None:
        """The process id of the worker that this process runs; None when there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def path(self) -> Path:
        """The file whose lock decides who runs the worker."""
        digest = hashlib.sha256(self._site().encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir(), f"lavoro-{os.getuid()}-{digest}.lock")

    def start(self) -> None:
        """Begin to look after the worker; further calls change nothing."""
        with self._starting:
            if self._thread is None and not self.stopping:
                super().start()
                atexit.register(self.stop)

    def step(self) -> float:
        """Have the worker run, if this is the process that may."""
        if self._process is not None and self._process.poll() is not None:
            return self._mourn(self._process)
        if self._process is None and self._has_lock():
            self._spawn()
        return LOOK

    def close(self) -> None:
        """Let the worker finish what it runs, up to the patience, and let go of the lock."""
        self._hang_up()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self._patience())
        self._let_go()

    def _has_lock(self) -> bool:
        if self._lock is None:
            self._lock = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _spawn(self) -> None:
        watched, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lavoro", "worker", *self.arguments, "--parent-fd", str(watched)],
                pass_fds=(watched,),
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is meant for the web process, whose end ends the worker gently
            )
        finally:
            os.close(watched)
        self._started = time.monotonic()

    def _mourn(self, process: subprocess.Popen[bytes]) -> float:
        lived = time.monotonic() - self._started
        self._pause = LOOK if lived > LONGEST_PAUSE else min(max(LOOK, 2 * self._pause), LONGEST_PAUSE)
        logger.error(
            "the embedded worker %d ended with exit code %d; another is started in %g s",
            process.pid, process.returncode, self._pause,
        )  # fmt: skip
        self._hang_up()
        self._process = None
        return self._pause

    def _hang_up(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def _let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _forget(self) -> None:
        """In a forked process: the worker and the lock are the parent's, whose end must not go unnoticed."""
        self._hang_up()
        self._let_go()
        self._process = self._thread = None
        self._wakeup, self._starting = threading.Event(), threading.Lock()
