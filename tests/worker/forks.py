"""The application of the tests of forks: its tasks fork, in the ways that code written for other workers does."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from lavoro import Task, signals
from tests.worker.app import app, note

FORK = multiprocessing.get_context("fork")
lock, event = threading.Lock(), threading.Event()


@app.task(name="beside", bind=True)
def beside(self: Any, number: int, seconds: float) -> int:
    note("start", self.request.id, os.getpid())
    try:
        if number == 0:
            event.wait(60)
        elif number == 1:
            with lock:
                pass
        else:
            time.sleep(seconds)
    finally:
        note("end", self.request.id, os.getpid())
    return number


@app.task(name="fork", bind=True)
def fork(self: Any, how: str, path: str) -> Any:
    """Fork while the file is not there and a lock is held, and return the exit code of the fork."""
    note("start", self.request.id, os.getpid())
    event.clear()
    with lock:
        note("holds", self.request.id)
        while not Path(path).exists():
            time.sleep(0.01)
        child = os.fork()
        if child == 0:
            event.set()  # other tasks of the parent wait for it
    if child:
        event.set()
        status = os.waitpid(child, 0)[1]
        note("end", self.request.id, os.getpid())
        return os.waitstatus_to_exitcode(status)
    time.sleep(0.2)
    note("forked", how, os.getpid())
    if how == "exit":
        sys.exit(3)
    if how == "words":
        sys.exit("it is over")
    if how == "raise":
        raise RuntimeError("raised in the fork")
    if how == "call":
        other = beside.apply_async((2, 0.0))
        assert other.get(timeout=60, disable_sync_subtasks=False) == 2
        self.update_state(state="FORKED")
    if how == "grandchild":
        if os.fork() == 0:
            return "from the grandchild"
        assert os.wait()[1] == 0
    return "from the fork"


def work(number: int) -> int:
    time.sleep(0.05)
    return number * number


def rest() -> None:
    time.sleep(600)


@app.task(name="use")
def use(what: str) -> Any:
    """Use a library that forks."""
    if what == "process":
        process = FORK.Process(target=work, args=(2,))
        process.start()
        process.join(60)
        return process.exitcode
    if what == "terminate":
        codes = []
        for _ in range(5):
            process = FORK.Process(target=rest)
            process.start()
            process.terminate()
            process.join(60)
            while process.exitcode is None:  # another thread of ours has collected it, and tells in a moment
                time.sleep(0.01)
            codes.append(process.exitcode)
        return codes
    if what == "pool":
        with FORK.Pool(2) as pool:
            return pool.map(work, range(4))
    if what == "executor":
        with ProcessPoolExecutor(2, mp_context=FORK) as executor:
            return list(executor.map(work, range(4)))
    return subprocess.run([sys.executable, "-c", "print(4)"], stdout=subprocess.PIPE, text=True).stdout


@app.task(name="prerun")
def prerun() -> int:
    note("ran", os.getpid())
    return os.getpid()


@signals.task_prerun.connect
def fork_before(task_id: str, task: Any, **_: object) -> None:
    """A receiver that forks, and whose fork comes back."""
    if task.name == "prerun" and (child := os.fork()):
        os.waitpid(child, 0)


class Told(Task[..., Any]):
    """A task whose handlers and receivers fork, or tell who has called them."""

    def on_success(self, retval: Any, *_: Any) -> None:
        come_back_twice()

    def after_return(self, state: str, retval: Any, task_id: str, *_: Any) -> None:
        note("returned", task_id, os.getpid())


def come_back_twice() -> None:
    """Fork, and come back in both processes."""
    if child := os.fork():
        os.waitpid(child, 0)


@app.task(name="told", base=Told)
def told() -> int:
    return os.getpid()


@signals.task_received.connect
def fork_as_it_comes(request: Any, **_: object) -> None:
    if request.task == "told":
        come_back_twice()


@signals.task_success.connect(sender="told")
def fork_as_it_succeeds(**_: object) -> None:
    come_back_twice()


@signals.task_postrun.connect(sender="told")
def tell_at_last(task_id: str, **_: object) -> None:
    note("postrun", task_id, os.getpid())


@signals.worker_process_init.connect
def fork_at_the_start(**_: object) -> None:
    """Another one."""
    if child := os.fork():
        note("began", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
