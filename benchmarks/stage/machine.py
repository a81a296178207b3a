"""Describes the machine and the server, without which no figure means anything."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import psycopg

ROOT = Path(__file__).parents[2]
PACKAGES = ("lavoro", "psycopg", "psycopg-binary", "SQLAlchemy", "gevent")
SETTINGS = (
    "server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "wal_level",
    "max_wal_size", "max_connections", "autovacuum", "jit", "data_directory",
)  # fmt: skip


def describe(server: str) -> dict[str, str]:
    """Return what the figures depend on, as names and texts."""
    with psycopg.connect(server) as connection:
        rows = {name: connection.execute(f"show {name}").fetchall()[0][0] for name in SETTINGS}
        over = "a Unix socket" if connection.info.host.startswith("/") else "TCP"
    folder = rows.pop("data_directory")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": _commit(),
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(_packages()),
        "connected over": over,
        "file system of the data": _file_system(folder),
        **{f"PostgreSQL {name}": value for name, value in rows.items()},
    }


def _commit() -> str:
    """Name the commit, and whether files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _packages() -> list[str]:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _file_system(folder: str) -> str:
    """Name the type of the mount that holds ``folder``: on tmpfs a commit is free."""
    mounts = [part for part in psutil.disk_partitions(all=True) if Path(folder).is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown (another machine)"
