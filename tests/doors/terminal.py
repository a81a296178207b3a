"""Runs a command of the package on a pseudo terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def at_terminal(folder: Path, *arguments: str, typed: str = "", **variables: str) -> tuple[int, str]:
    """Run a command on a pseudo terminal; return its exit code, and what it showed."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "150", **variables}
    process = subprocess.Popen(
        [sys.executable, "-m", "lavoro", *arguments], cwd=folder, env=environment, stdin=theirs, stdout=theirs,
        stderr=theirs, close_fds=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    if typed:
        os.write(ours, typed.encode())
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    return process.wait(60), shown.decode()
