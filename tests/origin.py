"""The process that is copied: it has imported Lavoro and its libraries; a copy becomes what a new interpreter is.

A worker's copy has a process of its own to copy, so that its children are copies, too, and its children all the same.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = str(Path(__file__).parents[1])
LIBRARIES = (
    "click", "click.shell_completion", "sqlalchemy.dialects.postgresql.psycopg", "psycopg", "blinker",
    "logging.config", "email.parser", "difflib", "mmap", "resource", "shlex", "zoneinfo",
)  # fmt: skip
"""What Lavoro imports of others: SQLAlchemy's dialect leaves the import of psycopg to the first engine."""
LAVORO = ("lavoro.public", "lavoro.worker.child.child", "lavoro.worker.supervisor.supervisor")
"""What commands and workers import of Lavoro, with the command line's modules."""
ROOM = 4096
"""Bytes for the command line of a copy."""
_HANDLERS: dict[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGCHLD: signal.SIG_DFL,
}  # fmt: skip
COPIED_FOR_CHILDREN = "copied for the children of a worker"
"""The command line of a process that is a child of a worker's copy, and of no other worker."""
_CHILD = "lavoro.worker.child.child"
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


def command(requests: int, *, with_lavoro: bool) -> list[str]:
    """Return the command that starts it; ``requests`` is its end of the socket for requests."""
    code = f"import sys; sys.path.insert(0, {ROOT!r}); from tests.origin import be_copied; "
    return [sys.executable, "-c", f"{code}be_copied({requests}, with_lavoro={with_lavoro})".ljust(ROOM)]


def be_copied(requests: int, *, with_lavoro: bool) -> None:
    """Import the libraries, and run a program in each copy."""
    gc.disable()
    import_all(with_lavoro=with_lavoro)
    gc.enable()
    gc.freeze()
    run(Origin(socket.socket(fileno=requests)).serve())


def import_all(*, with_lavoro: bool) -> None:
    """Import what programs import."""
    verbs = (f"lavoro.cli.{verb.name}" for verb in pkgutil.iter_modules([f"{ROOT}/lavoro/cli"]))
    for name in (*LIBRARIES, *((*LAVORO, *verbs) if with_lavoro else ())):
        import_module(name)


def run(arguments: Sequence[str]) -> None:
    """Run what an interpreter with these arguments runs: ``-m MODULE``, ``-c CODE`` or a file."""
    what, *rest = arguments
    if what == "-m":
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif what == "-c":
        sys.modules["__main__"] = main = ModuleType("__main__")
        vars(main)["__builtins__"] = __builtins__
        exec(compile(rest[0], "<string>", "exec"), vars(main))
    else:
        sys.modules["__main__"] = main = ModuleType("__main__")
        vars(main).update({"__builtins__": __builtins__, "__file__": what})
        exec(compile(Path(what).read_bytes(), what, "exec"), vars(main))


class Origin:
    """The process that is copied, as it sees itself."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._waiting: dict[int, socket.socket] = {}
        """The sockets that tell the ends of copies, by their pids."""
        known = {"", ROOT, *python_path()}
        self._path = [place for place in sys.path if place not in known]

    def serve(self) -> list[str]:
        """Return, in each copy, the arguments of its interpreter; end with the process that makes the requests."""
        ended, wakeup = os.pipe()
        os.set_blocking(wakeup, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            ready = select.select([self._requests.fileno(), ended], [], [])[0]
            if ended in ready:
                os.read(ended, 4096)
                self._tell_ends()
            elif arguments := self._answer():
                return arguments

    def _answer(self) -> list[str] | None:
        request, files = receive(self._requests)
        if pid := os.fork():
            answers, *others = files
            for file in others:
                os.close(file)
            self._waiting[pid] = socket.socket(fileno=answers)
            self._waiting[pid].send(b"%d" % pid)
            return None
        signal.set_wakeup_fd(-1)
        for open_socket in (self._requests, *self._waiting.values()):
            open_socket.detach()
        become(request, files[1:], self._path)
        arguments = lend_children(self._path) or list(request["arguments"])
        customize()
        return arguments

    def _tell_ends(self) -> None:
        with suppress(ChildProcessError):
            while (end := os.waitpid(-1, os.WNOHANG))[0]:
                with self._waiting.pop(end[0]) as answers, suppress(OSError):
                    answers.send(b"%d" % os.waitstatus_to_exitcode(end[1]))


def receive(requests: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Wait for a request, and return it with its files; without a sender, the process ends."""
    text, files, _, _ = socket.recv_fds(requests, 2**20, 32)
    if not text:
        os._exit(0)
    return json.loads(text), files


def become(request: Mapping[str, Any], files: Sequence[int], path: Sequence[str]) -> None:
    """Make this process what a new interpreter would be; ``numbers`` are those of its files."""
    for number, handler in _HANDLERS.items():
        signal.signal(number, handler)
    _take_files(files, request["numbers"])
    unbuffered = bool(request["environment"].get("PYTHONUNBUFFERED"))
    sys.stdout.reconfigure(write_through=unbuffered, line_buffering=os.isatty(1))  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    arguments = request["arguments"]
    _show([sys.executable, *arguments])
    sys.orig_argv[:] = [sys.executable, *arguments]
    sys.argv[:] = [arguments[0], *arguments[2:]] if arguments[0].startswith("-") else arguments
    first = {"-m": str(Path.cwd()), "-c": ""}.get(arguments[0], str(Path(arguments[0]).parent))
    sys.path[:] = [first, *python_path(), *path]
    sys.modules.pop("__mp_main__", None)
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    if "lavoro" in sys.modules:
        import_module("lavoro.runtime.forking").count_from_here()


def customize() -> None:
    """Import what an interpreter imports before all else."""
    for name in customizers():
        sys.modules.pop(name, None)
        import_module(name)


def _take_files(files: Sequence[int], numbers: Sequence[int]) -> None:
    kept = [fcntl.fcntl(file, fcntl.F_DUPFD, 512) for file in files]
    os.closerange(3, 512)
    for file, number in zip(kept, numbers, strict=True):
        os.dup2(file, number)
        os.close(file)


def _show(arguments: Sequence[str]) -> None:
    """Write the command line to where the list of processes reads it."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    text = b"\0".join(map(os.fsencode, arguments))
    ctypes.memmove(start, text[: end - start - 1].ljust(end - start, b"\0"), end - start)


def customizers(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the modules in folders of PYTHONPATH that an interpreter imports before all else."""
    return [
        name
        for name in ("sitecustomize", "usercustomize")
        if any(Path(place, f"{name}.py").exists() for place in python_path(environment))
    ]


def python_path(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the folders of the variable PYTHONPATH."""
    return [place for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place]


# The children of a worker


def lend_children(path: Sequence[str]) -> list[str] | None:
    """In a worker's copy: start the process that is copied for its children. Return, in a child, its arguments."""
    if "worker" not in sys.argv:
        return None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    supervisor = os.getpid()
    if os.fork():
        theirs.close()
        Child.requests = ours
        subprocess.Popen = Child  # type: ignore[misc]
        return None
    ours.close()
    _show([COPIED_FOR_CHILDREN])
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with Path(os.devnull).open("rb+", buffering=0) as nothing:
        for number in range(3):
            os.dup2(nothing.fileno(), number)
    return _serve_children(theirs, supervisor, path)


def _serve_children(requests: socket.socket, supervisor: int, path: Sequence[str]) -> list[str]:
    """Return, in each child, its arguments. A process between it and this one ends: so its parent is the supervisor."""
    while True:
        request, files = receive(requests)
        if between := os.fork():
            for file in files:
                os.close(file)
            os.waitpid(between, 0)
            requests.send(b"born")
        elif pid := os.fork():
            requests.send(b"%d" % pid)
            os._exit(0)
        else:
            requests.detach()
            while os.getppid() != supervisor:
                time.sleep(0.0002)
            os.setsid()
            become(request, files, path)
            return list(request["arguments"])


class Child(subprocess.Popen[Any]):
    """A process of a worker: a copy if it is a child that runs tasks, and no library has to be patched before."""

    requests: socket.socket

    def _execute_child(self, *arguments: Any) -> None:
        args, _, _, _, pass_fds, *_ = arguments
        code = args[2] if isinstance(args, list) and args[1:2] == ["-c"] else ""
        if _CHILD not in code or "gevent" in code:
            super()._execute_child(*arguments)  # type: ignore[misc]
            return
        numbers = [0, 1, 2, *pass_fds]
        request = {"arguments": args[1:], "environment": {**os.environ}, "folder": str(Path.cwd()), "numbers": numbers}
        adopt = ctypes.CDLL(None).prctl
        adopt(_SUBREAPER, 1, 0, 0, 0)
        try:
            socket.send_fds(self.requests, [json.dumps(request).encode()], numbers)
            self.pid = int(self.requests.recv(16))
            self._child_created = True
            self.requests.recv(16)
        finally:
            adopt(_SUBREAPER, 0, 0, 0, 0)
