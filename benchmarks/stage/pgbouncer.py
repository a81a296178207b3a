"""Puts a PgBouncer in transaction mode in front of the server."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from benchmarks.stage.redis import free_port, wait_for_port
from benchmarks.values import Skipped

SETTINGS = """
[databases]
* = host={host} port={port} user={user}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 20
max_client_conn = 1000
ignore_startup_parameters = extra_float_digits
logfile = {folder}/log
"""


@contextmanager
def pooled(dsn: str) -> Iterator[str]:
    """Yield the URL of the same database through a pool of 20 connections in transaction mode."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        raise Skipped("there is no pgbouncer: apt-get install pgbouncer")
    direct, listen = make_url(dsn), free_port()
    with tempfile.TemporaryDirectory(prefix="lavoro-benchmarks-") as folder:
        Path(folder).chmod(0o777)
        host = direct.host or direct.query.get("host", "/var/run/postgresql")
        values = {"host": host, "port": direct.port or 5432, "user": direct.username or "postgres"}
        file = Path(folder) / "pgbouncer.ini"
        file.write_text(SETTINGS.format(**values, listen=listen, folder=folder))
        process = subprocess.Popen([program, "-q", *_user(str(host)), str(file)])
        try:
            wait_for_port(listen)
            yield direct.set(host="127.0.0.1", port=listen, query={}).render_as_string(hide_password=False)
        finally:
            process.terminate()
            process.wait()


def _user(host: str) -> list[str]:
    """It refuses to run as root, and must be able to reach the server's socket."""
    if os.geteuid():
        return []
    return ["-u", Path(host).owner() if host.startswith("/") else "nobody"]
