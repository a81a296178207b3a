"""Starts modules of Python as copies of a process that has imported the libraries: half the CPU of a command's start.

A copy imports Lavoro itself, and ends as an interpreter does. Its command line is not its own in the list of processes.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

ROOT = str(Path(__file__).parents[1])
LIBRARIES = (
    "click", "click.shell_completion", "sqlalchemy.dialects.postgresql.psycopg", "psycopg", "blinker",
    "logging.config", "email.parser", "difflib", "mmap", "resource", "shlex", "zoneinfo",
)  # fmt: skip
"""What Lavoro imports of others: SQLAlchemy's dialect leaves the import of psycopg to the first engine."""
READ_AT_START = ("PYTHON", "LC_", "LANG", "TZ", "PSYCOPG")
"""The beginnings of variables that an interpreter or a library reads as it starts."""
READ_BY_COPIES = ("PYTHONPATH", "PYTHONUNBUFFERED")
CUSTOMIZERS = ("sitecustomize", "usercustomize")
MEASURED = "COVERAGE_PROCESS_CONFIG"
"""The variable by which coverage follows new interpreters, but no copies."""


class Copy:
    """A process, with the part of ``Popen`` that tests use."""

    def __init__(
        self, command: list[str], environment: Mapping[str, str], folder: Path, output: IO[bytes], errors: IO[bytes]
    ) -> None:
        self.returncode: int | None = None
        self.args = command
        request = {"arguments": command[2:], "environment": dict(environment), "folder": str(folder)}
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, Path(os.devnull).open("rb") as nothing:
            files = [file.fileno() for file in (theirs, nothing, output, errors)]
            socket.send_fds(_origin(), [json.dumps(request).encode()], files)
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
    errors: IO[bytes] | None = None, pass_fds: Sequence[int] = (), copied: bool = True,
) -> Process:  # fmt: skip
    """Start ``python -m``; as a copy unless it inherits more, or its interpreter would read other things at its start.

    Tests that look at the command line want none copied.
    """
    command, errors = [sys.executable, "-m", *arguments], errors or output
    same = MEASURED not in environment and _read_at_start(environment) == _read_at_start(os.environ)
    if copied and same and not pass_fds and not _customized(environment) and sys.platform == "linux":
        return Copy(command, environment, folder, output, errors)
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
        env=dict(environment), cwd=folder, pass_fds=pass_fds,
    )  # fmt: skip


def run(*arguments: str, environment: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``python -m`` to its end, and return the output."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = start(*arguments, environment=environment, folder=folder, output=output, errors=errors)
        try:
            code = process.wait(100)
        finally:
            process.kill()
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess([*arguments], code, output.read().decode(), errors.read().decode())


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    names = (name for name in environment if name.startswith(READ_AT_START) and name not in READ_BY_COPIES)
    return {name: environment[name] for name in names}


def _customized(environment: Mapping[str, str]) -> bool:
    """Whether a folder of PYTHONPATH has a module that an interpreter runs before all else."""
    return any(Path(place, f"{name}.py").exists() for place in _python_path(environment) for name in CUSTOMIZERS)


@functools.cache
def _origin() -> socket.socket:
    """Start the process that is copied, and return the socket that takes requests; it ends when that is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    code = f"import sys; sys.path.insert(0, {ROOT!r}); from tests.copies import be_copied; be_copied({theirs.fileno()})"
    with theirs:
        origin = subprocess.Popen([sys.executable, "-c", code], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)

    def end() -> None:
        ours.close()
        origin.wait()

    atexit.register(end)
    return ours


class Origin:
    """The process that is copied, as it sees itself."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._waiting: dict[int, socket.socket] = {}
        """The sockets that tell the ends of copies, by their pids."""
        known = {"", ROOT, *_python_path()}
        self._path = [place for place in sys.path if place not in known]

    def serve(self) -> str:
        """Return, in each copy, the name of the module to run; end with the process that makes the requests."""
        ended, wakeup = os.pipe()
        os.set_blocking(wakeup, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            ready = select.select([self._requests.fileno(), ended], [], [])[0]
            if ended in ready:
                os.read(ended, 4096)
                self._tell_ends()
            elif module := self._answer():
                return module

    def _answer(self) -> str | None:
        text, files, _, _ = socket.recv_fds(self._requests, 2**20, 4)
        if not text:
            os._exit(0)
        if pid := os.fork():
            answers, *others = files
            for file in others:
                os.close(file)
            self._waiting[pid] = socket.socket(fileno=answers)
            self._waiting[pid].send(b"%d" % pid)
            return None
        return self._become(json.loads(text), files[1:])

    def _tell_ends(self) -> None:
        with suppress(ChildProcessError):
            while (end := os.waitpid(-1, os.WNOHANG))[0]:
                with self._waiting.pop(end[0]) as answers, suppress(OSError):
                    answers.send(b"%d" % os.waitstatus_to_exitcode(end[1]))

    def _become(self, request: dict[str, Any], files: list[int]) -> str:
        """Make this copy what a new interpreter would be."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, file in enumerate(files):
            os.dup2(file, number)
        for open_socket in (self._requests, *self._waiting.values()):
            open_socket.detach()
        os.closerange(3, 1024)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        module, *arguments = request["arguments"]
        sys.path[:] = [str(Path.cwd()), *_python_path(), *self._path]
        sys.argv[:] = ["-m", *arguments]
        del sys.modules["tests"], sys.modules[__name__]
        return str(module)


def _python_path(environment: Mapping[str, str] = os.environ) -> list[str]:
    return [place for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place]


def be_copied(requests: int) -> None:
    """Import the libraries, and run a module in each copy."""
    gc.disable()
    for library in LIBRARIES:
        import_module(library)
    gc.enable()
    gc.freeze()
    module = Origin(socket.socket(fileno=requests)).serve()
    runpy.run_module(module, run_name="__main__", alter_sys=True)
