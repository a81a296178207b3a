"""An application with functions of start and end, and a resource; what happens is written to the file of LEDGER."""

from __future__ import annotations

import contextvars
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lavoro import Lavoro
from lavoro.shared import on_shutdown, on_startup

app = Lavoro("hooked")
SEEN: contextvars.ContextVar[str] = contextvars.ContextVar("SEEN", default="nothing")
FAILS = os.environ.get("FAILS", "").split()
"""Names of the functions that fail."""


def note(*words: object) -> None:
    """Write a line that is there at once, whatever happens to this process."""
    with Path(os.environ["LEDGER"]).open("a") as file:
        file.write(" ".join(map(str, words)) + "\n")


def take_part(name: str) -> None:
    """Note that a function runs in this process; fail if it is to."""
    note(name, os.getpid())
    if name in FAILS:
        raise ValueError(f"{name} is to fail")
    if f"{name}:once" in FAILS and not (flag := Path(os.environ["LEDGER"] + name)).exists():
        flag.touch()
        os._exit(3)
    if f"{name}:second" in FAILS and Path(os.environ["LEDGER"]).read_text().count(f"{name} ") > 1:
        raise ValueError(f"{name} is to fail")


@app.on_startup(scope="process")
def process_one() -> None:
    take_part("process_one")
    SEEN.set("the start")


@app.on_startup(scope="worker")
def worker_one() -> None:
    take_part("worker_one")
    time.sleep(float(os.environ.get("WORKER_START_TAKES", "0")))
    note("worker_started", os.getpid())


@app.on_startup
def process_two(client: dict[str, int]) -> None:
    assert client == {"pid": os.getpid()}
    take_part("process_two")
    time.sleep(float(os.environ.get("PROCESS_START_TAKES", "0")))


@on_startup(scope="worker")
def worker_two() -> None:
    take_part("worker_two")


@app.on_shutdown
def end_one() -> None:
    take_part("end_one")


@app.on_shutdown(scope="worker")
def end_node_one(client: dict[str, int]) -> None:
    assert client == {"pid": os.getpid()}
    take_part("end_node_one")


@on_shutdown()
def end_two() -> None:
    take_part("end_two")


@on_shutdown(scope="worker")
def end_node_two() -> None:
    take_part("end_node_two")


@app.resource
def client() -> Iterator[dict[str, int]]:
    take_part("make")
    yield {"pid": os.getpid()}
    take_part("close")


@app.task(name="use")
def use(client: dict[str, int], seconds: float = 0) -> list[Any]:
    note("use", os.getpid())
    time.sleep(seconds)
    note("used", os.getpid())
    return [client, os.getpid(), SEEN.get()]


@app.task(name="hold")
def hold(file: str, client: dict[str, int]) -> None:
    """Run until the file exists."""
    note("hold", os.getpid())
    while not Path(file).exists():
        time.sleep(0.05)
    note("held", os.getpid())


@app.task(name="fork")
def fork(client: dict[str, int]) -> int:
    """Use it in a forked process, which makes its own."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, str(resource().get()["pid"] == os.getpid()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return os.read(reader, 10) == b"True"


def resource() -> Any:
    return client
