"""A process that ends a blocked child before its lease expires; this module is also the program it runs."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import subprocess
import sys
import time

_MOMENT = struct.Struct("=d")


class FencingProcess:
    """A process that ends a child when its lease is no longer certain, even if the supervisor is killed or stopped.

    The child's own self-fence cannot run while a call in C holds Python's lock. The supervisor starts this process
    while the child's loop is blocked, which is seldom, and seldom long.
    """

    def __init__(self, pid: int, *, until: float) -> None:
        command = [sys.executable, "-I", "-S", __file__, str(pid), repr(until)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0, start_new_session=True)
        assert self._process.stdin is not None
        self._pipe = self._process.stdin
        os.set_blocking(self._pipe.fileno(), False)

    def trust(self, until: float) -> None:
        """Say until when (monotonic) the child may live."""
        with contextlib.suppress(OSError):  # it is gone, or stopped: the self-fence remains
            self._pipe.write(_MOMENT.pack(until))

    def dismiss(self) -> None:
        """End it: the child's loop turns again, or the child is gone."""
        self._process.kill()
        self._process.wait()
        self._pipe.close()


def main(pid: int, until: float) -> None:
    """End the process group of a child when its time is over, unless the child ends before."""
    with contextlib.suppress(ProcessLookupError):
        if not _ends_before(pid, until):
            os.killpg(pid, signal.SIGKILL)


def _ends_before(pid: int, until: float) -> bool:
    """Wait for the end of a process or of its time; each moment that comes in replaces the last."""
    pipe = sys.stdin.fileno()
    child = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1
    watched = [pipe] if child < 0 else [pipe, child]
    while (left := until - time.monotonic()) > 0:
        ready = select.select(watched, [], [], left)[0]
        if child in ready:
            return True
        if pipe in ready:
            moments = os.read(pipe, 4096)
            if moments:
                until = _MOMENT.unpack(moments[-_MOMENT.size :])[0]
            else:
                watched.remove(pipe)  # the supervisor is gone; the last moment that it sent holds
    return False


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
