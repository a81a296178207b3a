"""One program on one side in one pool: start its worker, run its client, stop the worker, and read the records."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.differential.program import PROGRAMS, Program
from tests.differential.sides import BESIDE, Side

CLIENT_PATIENCE = 400.0
WORKER_PATIENCE = 45.0
READY_PATIENCE = 10.0
"""Seconds for which the line that tells so is waited for: a program may keep it from being logged."""
SEQUENCE = " -> "
"""Between values that came under one key."""


class Trial(NamedTuple):
    """What one side has recorded, and what its processes printed."""

    values: dict[str, str]
    output: str


def run(program: Program, side: Side, pool: str | None) -> Trial:
    """Run it; a client or a worker that does not end in time is killed, and a key tells so."""
    with tempfile.TemporaryDirectory(prefix="differential-") as folder, side.environment() as own:
        records = Path(folder) / "records"
        output = Path(folder) / "output"
        environment = own | program.environment | {"RECORD_FILE": str(records)}
        with output.open("wb") as log:
            if pool is None:
                ended = {"client": _client(program, side, environment, log, None)}
            else:
                with _worker(program, side, pool, environment, log) as worker:
                    ended = {"client": _client(program, side, environment, log, worker)}
                    if side.name != "celery" and pool == "prefork":
                        _wait_until_ready(worker, output)
                ended["worker"] = worker.returncode
        values = _read(records) | {f"exit code of {name}": str(code) for name, code in ended.items()}
        return Trial(values, output.read_text(errors="replace"))


def _client(
    program: Program, side: Side, environment: dict[str, str], log: object, worker: subprocess.Popen[bytes] | None
) -> int | str:
    process = subprocess.Popen(
        [side.python, str(BESIDE / "client.py"), program.name],
        env=environment | {"RECORD_WHERE": "client"},
        cwd=PROGRAMS,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    deadline = time.monotonic() + CLIENT_PATIENCE
    while time.monotonic() < deadline:
        try:
            return process.wait(1)
        except subprocess.TimeoutExpired:
            if worker is not None and worker.poll() is not None:  # nobody runs its tasks
                break
    process.kill()
    process.wait()
    return "none"


@contextmanager
def _worker(
    program: Program, side: Side, pool: str, environment: dict[str, str], log: object
) -> Iterator[subprocess.Popen[bytes]]:
    options = [*program.worker, *(() if pool == "default" else ("-P", pool))]
    quick = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    verb = ("-A", program.name, "worker") if side.name == "celery" else ("worker", "-A", program.name)
    process = subprocess.Popen(
        [side.python, *side.command, *verb, "-l", "INFO", *quick, *options],
        env=environment | {"RECORD_WHERE": "worker"},
        cwd=PROGRAMS,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _stop(process)


def _wait_until_ready(worker: subprocess.Popen[bytes], output: Path) -> None:
    """Wait until all its processes have begun: one may have run all tasks while another still sets its log up."""
    deadline = time.monotonic() + READY_PATIENCE
    while b" ready: " not in output.read_bytes() and worker.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """A warm end: tasks that run, and their handlers, come to their end first."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(WORKER_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read(records: Path) -> dict[str, str]:
    values: dict[str, list[str]] = {}
    for line in records.read_text().splitlines() if records.exists() else ():
        key, text = json.loads(line)
        values.setdefault(key, []).append(text)
    return {key: SEQUENCE.join(texts) for key, texts in values.items()}
