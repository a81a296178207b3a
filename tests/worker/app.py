"""The application of the worker's tests; what its tasks do is written to the file that LEDGER names."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import re
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from gevent.monkey import get_original

from lavoro import Lavoro, signals
from lavoro.exceptions import SoftTimeLimitExceeded
from lavoro.worker.child import in_flight

ARGV = list(sys.argv)
"""As it was when the application was imported."""
POOL: list[ProcessPoolExecutor] = []
UNPATCHED_SLEEP = get_original("time", "sleep")
app = Lavoro(
    "tests",
    lavoro_lease=float(os.environ.get("TEST_LEASE", "30")),
    lavoro_unknown_task_delay=0.2,
    lavoro_unknown_task_delay_max=2,
)
in_flight.IDLE_AFTER = float(os.environ.get("TEST_IDLE_AFTER", in_flight.IDLE_AFTER))
if os.environ.get("TEST_BLOCKED_TIMEOUT"):
    app.conf.lavoro_blocked_timeout = float(os.environ["TEST_BLOCKED_TIMEOUT"])


def note(*words: object) -> None:
    """Write a line that is there at once, whatever happens to this process."""
    if "LEDGER" in os.environ:
        descriptor = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
        os.close(descriptor)


@app.task(name="add")
def add(x: int, y: int) -> int:
    return x + y


@app.task(name="where")
def where() -> int:
    return os.getpid()


@app.task(name="argv")
def argv() -> list[list[str]]:
    return [ARGV, sys.argv]


@app.task(name="hold", bind=True)
def hold(self: Any, path: str) -> str:
    """Run until the file exists."""
    note("start", self.request.id, os.getpid())
    while not Path(path).exists():
        time.sleep(0.02)
    note("end", self.request.id, os.getpid())
    return "held"


@app.task(name="report", bind=True)
def report(self: Any, path: str) -> str:
    """Store progress as soon as the file exists."""
    note("start", self.request.id, os.getpid())
    while not Path(path).exists():
        time.sleep(0.02)
    self.update_state(state="HALF", meta={"done": 1})
    note("reported", self.request.id)
    return "done"


@app.task(name="take_all_connections", bind=True)
def take_all_connections(self: Any, path: str) -> str:
    """Hold all connections that the process has for its tasks until the file exists."""
    pool = app.database.engine.pool
    with contextlib.ExitStack() as stack:
        for _ in range(pool.size() + pool._max_overflow):
            stack.enter_context(app.database.engine.connect())
        note("taken", self.request.id)
        while not Path(path).exists():
            time.sleep(0.02)
    return "given back"


@app.task(name="nap", bind=True)
def nap(self: Any, seconds: float) -> float:
    note("start", self.request.id, os.getpid())
    time.sleep(seconds)
    note("end", self.request.id, os.getpid())
    return seconds


@app.task(name="burn", bind=True)
def burn(self: Any, path: str, pause: float = 0.01) -> str:
    """Let no other task run until the file exists; in the pauses, which are in C, other threads may."""
    note("start", self.request.id, os.getpid())
    while not Path(path).exists():
        if pause:
            UNPATCHED_SLEEP(pause)
    return "burnt"


@app.task(name="grip", bind=True)
def grip(self: Any, path: str) -> str:
    """Hold Python's lock in C, so that no thread goes on; at a second start, tell what has become of the first."""
    note("start", self.request.id, os.getpid())
    if not Path(path).exists():
        Path(path).write_text(str(os.getpid()))
        while True:
            ctypes.PyDLL(None).sleep(600)  # a signal ends it
    with contextlib.suppress(psutil.NoSuchProcess):
        if psutil.Process(int(Path(path).read_text())).status() != psutil.STATUS_ZOMBIE:
            return "it goes on"
    return "it is gone"


@app.task(name="block", bind=True)
def block(self: Any, how: str, path: str) -> str:
    """Block the loop, once."""
    note("start", self.request.id, os.getpid())
    if Path(path).exists():
        return "went on"
    Path(path).touch()
    if how == "a loop in Python":
        while True:
            pass
    if how == "a call that lets other threads run":
        UNPATCHED_SLEEP(600)
    if how == "a call that lets nothing run":
        re.match("(a+)+$", 40 * "a" + "b")
    os.kill(os.getpid(), signal.SIGSTOP)
    return "goes on when it is ended"


@app.task(name="stubborn", bind=True)
def stubborn(self: Any) -> None:
    note("start", self.request.id, os.getpid())
    while True:
        try:
            time.sleep(600)
        except BaseException as error:
            note("caught", type(error).__name__)


@app.task(name="end_process")
def end_process(how: str) -> None:
    note("start", how, os.getpid())
    if how == "exit":
        os._exit(0)
    os.kill(os.getpid(), getattr(signal, how))


@app.task(name="close_descriptors")
def close_descriptors() -> None:
    """Close what the process needs to live, and return as if nothing had been."""
    note("start", "close_descriptors")
    os.closerange(3, 4096)


@app.task(name="use_pool")
def use_pool() -> list[int]:
    """Use processes that are forked at the first call and kept for the next; return their ids."""
    if not POOL:
        POOL.append(ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")))
    POOL[0].submit(abs, -1).result()
    return [process.pid for process in POOL[0]._processes.values()]


@app.task(name="leave_daemon")
def leave_daemon() -> int:
    """Leave a process in a session of its own, which holds copies of all descriptors; return its id.

    It is forked as a library in C does it, past what Python calls in a fork.
    """
    libc = ctypes.PyDLL(None)
    pid: int = libc.fork()
    if pid == 0:
        libc.setsid()
        libc.sleep(600)
        libc._exit(0)
    return pid


@app.task(name="raise_it")
def raise_it(name: str) -> None:
    raise {"SystemExit": SystemExit, "MemoryError": MemoryError, "KeyboardInterrupt": KeyboardInterrupt}[name](
        "on purpose"
    )


@app.task(name="limited", soft_time_limit=0.3)
def limited(seconds: float) -> str:
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded:
        return "cleaned up"
    return "not limited"


@app.task(name="limited_loop", soft_time_limit=0.3)
def limited_loop() -> str:
    """Let nobody else run, until the limit; then go on for a while, and wait."""
    try:
        while True:
            pass
    except SoftTimeLimitExceeded:
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            pass
        time.sleep(0.01)
        return "cleaned up"


@app.task(name="stuck", bind=True, time_limit=0.5)
def stuck(self: Any) -> None:
    """Wait in C, where gevent does not know of it."""
    note("start", self.request.id, os.getpid())
    while True:
        with contextlib.suppress(BaseException):
            UNPATCHED_SLEEP(600)


@app.task(name="too_long", bind=True, time_limit=0.5)
def too_long(self: Any, seconds: float) -> float:
    note("start", self.request.id, os.getpid())
    time.sleep(seconds)
    return seconds


for name in ("worker_init", "worker_ready", "worker_process_init", "worker_shutting_down", "worker_shutdown"):

    def receive(signal: Any, sender: Any, sig: object = "", how: object = "", **_: Any) -> None:
        note("signal", signal.name, type(sender).__name__, sig, how)

    getattr(signals, name).connect(receive, weak=False)
