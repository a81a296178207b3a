"""Runs commands of the package on a pseudo terminal: to their end, or while keys are pressed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path
from typing import Any

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


class Screen:
    """A command that draws on the whole of a pseudo terminal, and takes keys."""

    def __init__(self, folder: Path, *arguments: str, lines: int = 30, columns: int = 120, **variables: str) -> None:
        self._ours, self._theirs = pty.openpty()
        self._resize(lines, columns)
        self.modes_before = self.modes()
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **variables}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lavoro", *arguments], cwd=folder, env=environment, stdin=self._theirs,
            stdout=self._theirs, stderr=self._theirs, start_new_session=True, preexec_fn=_take_terminal,
        )  # fmt: skip
        self.read = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._ours, 65536)
            except OSError:
                return
            self.read += piece

    def modes(self) -> list[Any]:
        """Return the modes of the terminal."""
        return termios.tcgetattr(self._theirs)

    def _resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, lines: int, columns: int) -> None:
        """Change the size, as a window manager does."""
        self._resize(lines, columns)
        self.process.send_signal(signal.SIGWINCH)

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def shown(self) -> str:
        """Return the texts of the last drawing."""
        last = self.read.rpartition(b"\x1b[H")[2].decode(errors="replace")
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", last).replace("\r\n", "\n")

    def end(self) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(30)
        os.close(self._theirs)
        self._reader.join(30)
        return code

    def close(self) -> None:
        """End it, however it is."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
