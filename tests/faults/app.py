"""The application of the fault suite: its tasks bear witness in the ledger, whatever happens to their process."""

from __future__ import annotations

import _socket
import contextlib
import contextvars
import ctypes
import hashlib
import json
import math
import os
import signal
import socket
import struct
import time
import timeit
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lavoro import Lavoro
from tests.faults.ledger import Ledger, sha

app = Lavoro("rig", **json.loads(os.environ.get("RIG_SETTINGS", "{}")))
ledger = Ledger(Path(os.environ["RIG_LEDGER"]), "worker", sync="RIG_UNSYNCED" not in os.environ)

BEAT = float(os.environ.get("RIG_BEAT", "0.05"))
"""Seconds between the signs of life of a task that waits."""


@contextlib.contextmanager
def witnessed(task: Any, **detail: Any) -> Iterator[str]:
    """Write the start first and the end last; the token is this start's alone."""
    token, request = uuid.uuid4().hex, task.request
    ledger.write("start", id=request.id, token=token, attempt=request.attempt, **detail)
    try:
        yield token
    except BaseException as error:
        ledger.write("end", id=request.id, token=token, outcome=type(error).__name__)
        raise


def answer(task: Any, token: str, payload: object = None) -> dict[str, Any]:
    """Write the end, and return what says whose it is."""
    result = {"token": token, "sha": sha(payload), "payload": payload}
    ledger.write("end", id=task.request.id, token=token, outcome="SUCCESS", sha=result["sha"])
    return result


def beat_until(task: Any, token: str, *, moment: float = float("inf"), path: str | None = None) -> None:
    """Wait, and say every moment that this start is still alive."""
    while time.monotonic() < moment and not (path and Path(path).exists()):
        time.sleep(min(BEAT, max(0.0, moment - time.monotonic())))
        ledger.write("beat", id=task.request.id, token=token)


@app.task(name="echo", bind=True, max_retries=20)
def echo(self: Any, payload: object, seconds: float = 0.0, fail_times: int = 0) -> dict[str, Any]:
    """Return the arguments, after some time and some failures."""
    with witnessed(self, sha=sha(payload)) as token:
        if seconds:
            beat_until(self, token, moment=time.monotonic() + seconds)
        if self.request.retries < fail_times:
            raise self.retry(countdown=0.05)
        return answer(self, token, payload)


@app.task(name="hold", bind=True)
def hold(self: Any, path: str) -> dict[str, Any]:
    """Run until the file exists."""
    with witnessed(self) as token:
        beat_until(self, token, path=path)
        return answer(self, token)


@app.task(name="die", bind=True)
def die(self: Any, how: str, seconds: float = 0.0) -> None:
    """End the process in which this runs."""
    with witnessed(self) as token:
        beat_until(self, token, moment=time.monotonic() + seconds)
        if how == "exit":
            os._exit(3)
        if how == "null":
            ctypes.string_at(0)
        os.kill(os.getpid(), getattr(signal, how))


@app.task(name="burn", bind=True)
def burn(self: Any, how: str, seconds: float) -> dict[str, Any]:
    """Let nothing else in this process run for a while; only a loop can bear witness meanwhile."""
    with witnessed(self) as token:
        WAYS_TO_BURN[how](seconds)
        return answer(self, token)


def in_loop(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def in_scrypt(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        hashlib.scrypt(b"x", salt=b"y", n=2**14, r=8, p=1)


def in_sleep(seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:  # the signal that asks for the stack ends a call
        ctypes.PyDLL(None).usleep(int(left * 1e6))  # holds the interpreter's lock


def in_json(seconds: float) -> None:
    """One call that holds the interpreter's lock, of numbers that are slow to read: a text of some tens of MB."""
    number, count = "1e-320,", 10_000
    quickest = min(timeit.repeat(lambda: json.loads(f"[{number * count}1]"), number=1, repeat=5))
    json.loads(f"[{number * int(count * seconds / quickest)}1]")


class Resolver(ctypes.Structure):
    """The beginning of what glibc's resolver knows, of each thread."""

    _fields_ = (
        ("timeout", ctypes.c_int), ("tries", ctypes.c_int), ("options", ctypes.c_ulong), ("servers", ctypes.c_int),
        ("server", ctypes.c_ubyte * 16),
    )  # fmt: skip


def in_getaddrinfo(seconds: float) -> None:
    """Ask a name server that never answers, past gevent, as a database driver in C does."""
    libc = ctypes.CDLL(None)
    libc.__res_init()
    state = libc.__res_state
    state.restype = ctypes.POINTER(Resolver)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, contextlib.suppress(socket.gaierror):
        silent.bind(("127.0.0.1", 0))
        resolver = state().contents
        resolver.timeout, resolver.tries, resolver.servers = math.ceil(seconds), 1, 1
        address = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", silent.getsockname()[1], b"\x7f\0\0\1")
        resolver.server[:] = address
        _socket.getaddrinfo("nobody.test.", 80)


WAYS_TO_BURN = {
    "loop": in_loop, "scrypt": in_scrypt, "sleep": in_sleep, "json": in_json, "getaddrinfo": in_getaddrinfo,
}  # fmt: skip


@app.task(name="spawn", bind=True)
def spawn(self: Any, count: int) -> dict[str, Any]:
    """Send tasks from inside of a task."""
    with witnessed(self) as token:
        for number in range(count):
            id = str(uuid.uuid4())
            ledger.write("intent", id=id, expect=["SUCCESS"], sha=sha(number))
            echo.apply_async(args=[number], task_id=id)
            ledger.write("outcome", id=id, outcome="ok")
        return answer(self, token)


@app.task(name="leave", bind=True)
def leave(self: Any) -> dict[str, Any]:
    """Leave a process behind that holds copies of all descriptors; tell its id.

    It is forked as a library in C does it, past what Python calls in a fork.
    """
    with witnessed(self) as token:
        libc = ctypes.PyDLL(None)
        pid = libc.fork()
        if pid == 0:
            libc.setsid()
            libc.sleep(600)
            libc._exit(0)
        return answer(self, token, pid)


_context = contextvars.ContextVar("litter", default="clean")


@app.task(name="litter", bind=True)
def litter(self: Any) -> dict[str, Any]:
    """Leave all kinds of things behind."""
    with witnessed(self) as token:
        _context.set("dirty")
        os.chdir("/")
        os.umask(0o077)
        os.environ["LITTER"] = "dirty"
        with app.database.tx() as tx:
            tx.connection.execute("begin")
            tx.connection.execute("set search_path = litter")
        return answer(self, token)


@app.task(name="probe", bind=True)
def probe(self: Any) -> dict[str, Any]:
    """Tell what is left of others."""
    with witnessed(self) as token:
        mask = os.umask(0)
        os.umask(mask)
        with app.database.tx() as tx:
            status = tx.connection.info.transaction_status.name
            path = tx.connection.execute("show search_path").fetchone()
        return answer(self, token, {
            "context": _context.get(), "cwd": str(Path.cwd()), "umask": mask, "litter": os.environ.get("LITTER"),
            "transaction": status, "search_path": list(path or ()), "task": app.current_task.name,
        })  # fmt: skip


def backend() -> int:
    """The server process that serves this process's pool."""
    with app.database.tx() as tx:
        return tx.connection.info.backend_pid


@app.task(name="fork", bind=True)
def fork(self: Any) -> dict[str, Any]:
    """Use the pool in this process and in two that it forks, and here again."""
    with witnessed(self) as token:
        before, pids = backend(), []
        for _ in range(2):
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                os.write(writer, str(backend()).encode())
                os._exit(0)
            os.waitpid(child, 0)
            pids.append(int(os.read(reader, 100)))
        assert backend() == before
        return answer(self, token, [before, *pids])


@app.task(name="fork_and_return", bind=True)
def fork_and_return(self: Any) -> dict[str, Any]:
    """Fork a process that returns as the task does, with all that the worker holds."""
    with witnessed(self) as token:
        result = answer(self, token, None)
    os.fork()
    return result
