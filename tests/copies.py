"""Starts programs as copies of a process that has imported Lavoro and its libraries: a tenth of the CPU of a start."""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from tests import origin

READ_AT_START = ("PYTHON", "LC_", "LANG", "TZ", "PSYCOPG")
"""The beginnings of variables that an interpreter or a library reads as it starts."""
READ_BY_COPIES = ("PYTHONPATH", "PYTHONUNBUFFERED")
MEASURED = "COVERAGE_PROCESS_CONFIG"
"""The variable by which coverage follows new interpreters, but no copies."""


class Copy:
    """A process, with the part of ``Popen`` that tests use."""

    def __init__(
        self, command: list[str], environment: Mapping[str, str], folder: Path, files: Mapping[int, int]
    ) -> None:
        self.returncode: int | None = None
        self.args = command
        request = {
            "arguments": command[1:], "environment": {**environment}, "folder": str(folder), "numbers": [*files],
        }  # fmt: skip
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # A customizer may change Lavoro's modules as they are imported: the rig of the faults does.
        requests = _origin(with_lavoro=not origin.customizers(environment))
        with theirs:
            socket.send_fds(requests, [json.dumps(request).encode()], [theirs.fileno(), *files.values()])
        self.pid = int(self._ours.recv(16))

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return the exit code."""
        if self.returncode is None:
            if not select.select([self._ours], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._ours.recv(16))
            self._ours.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


Process = Copy | subprocess.Popen[bytes]


def start(
    *arguments: str, environment: Mapping[str, str], folder: Path, output: IO[bytes],
    errors: IO[bytes] | None = None, pass_fds: Sequence[int] = (),
) -> Process:  # fmt: skip
    """Start a module, ``-c CODE`` or a file ``*.py``; as a copy unless an interpreter would read other things first."""
    program = arguments[0] == "-c" or arguments[0].endswith(".py")
    command, errors = [sys.executable, *([] if program else ["-m"]), *arguments], errors or output
    same = MEASURED not in environment and _read_at_start(environment) == _read_at_start(os.environ)
    if same and sys.platform == "linux":
        with Path(os.devnull).open("rb") as nothing:
            files = {0: nothing.fileno(), 1: output.fileno(), 2: errors.fileno(), **{fd: fd for fd in pass_fds}}
            return Copy(command, environment, folder, files)
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
        env=dict(environment), cwd=folder, pass_fds=pass_fds,
    )  # fmt: skip


def run(*arguments: str, environment: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program as ``start`` does, to its end, and return the output."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = start(*arguments, environment=environment, folder=folder, output=output, errors=errors)
        try:
            code = process.wait(100)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess([*arguments], code, output.read().decode(), errors.read().decode())


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    names = (name for name in environment if name.startswith(READ_AT_START) and name not in READ_BY_COPIES)
    return {name: environment[name] for name in names}


@functools.cache
def _origin(*, with_lavoro: bool) -> socket.socket:
    """Start the process that is copied, and return the socket that takes requests; it ends when that is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = origin.command(theirs.fileno(), with_lavoro=with_lavoro)
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
