"""An application with a start-up function of the fleet; what happens is written to the file of LEDGER."""

from __future__ import annotations

import os
import time
from pathlib import Path

from lavoro import Lavoro

app = Lavoro("fleet", lavoro_lease=float(os.environ.get("TEST_LEASE", "30")))
if os.environ.get("RELEASE"):
    app.conf.lavoro_release = os.environ["RELEASE"]


def note(*words: object) -> None:
    """Write a line that is there at once."""
    with Path(os.environ["LEDGER"]).open("a") as file:
        file.write(" ".join(map(str, words)) + "\n")


@app.on_startup(scope="fleet")
def fill() -> None:
    """Take as long as there is a file to wait for."""
    note("begin", os.getpid())
    if os.environ.get("FAILS"):
        raise ValueError("the fleet is to fail")
    while not Path(os.environ["LEDGER"] + ".go").exists():
        time.sleep(0.05)
    note("filled", os.getpid())


@app.on_startup(scope="worker")
def worker_one() -> None:
    note("worker", os.getpid())


@app.task(name="where")
def where() -> int:
    note("task", os.getpid())
    return os.getpid()
