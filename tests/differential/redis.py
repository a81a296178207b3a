"""Debian's redis-server, for the side of Celery."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.postgres import free_port, public_folder

PATIENCE = 30.0


class RedisMissing(Exception):
    """There is no program `redis-server`."""


@contextmanager
def temporary_redis() -> Iterator[str]:
    """The URL of a running server; it is gone afterwards.

    Each program has one, for databases of a server share their channels: results of one would reach the other.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise RedisMissing("Celery's side needs the program redis-server: apt-get install redis-server")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with public_folder() as folder:
        process = subprocess.Popen([*command, "--appendonly", "no"], cwd=folder, stdout=subprocess.DEVNULL)
        try:
            _wait_until_ready(process, port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _ready(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"redis-server did not start on port {port} (exit code {process.returncode})")
        time.sleep(0.01)


def _ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
