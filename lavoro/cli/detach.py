"""Puts a program into the background, and holds its pidfile."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lavoro.cli.exits import Exit, Failure
from lavoro.cli.options import writing
from lavoro.text.printable import plain

MARK = "_LAVORO_DETACHED"
"""The variable of a program that is in the background already."""
BEGUN = 30.0
"""Seconds within which it writes its pidfile."""
ALIVE = 1.0
"""Seconds after which a program without a pidfile counts as begun."""


def in_background() -> bool:
    """Return whether this program was put into the background; its own children know nothing of it."""
    return os.environ.pop(MARK, None) is not None


def detach(*, pidfile: str | None, logfile: str | None) -> int:
    """Start this command again in the background, and return the exit code when it has begun.

    Raises ``Failure`` if it ends instead.
    """
    _refuse_second(pidfile)
    command = [sys.executable, *sys.orig_argv[1:]]
    with Path(os.devnull).open("rb") as nothing, _output(logfile) as output:
        process = subprocess.Popen(
            command, stdin=nothing, stdout=output, stderr=output, env={**os.environ, MARK: "1"}, start_new_session=True
        )
    end = time.monotonic() + (BEGUN if pidfile else ALIVE)
    while time.monotonic() < end:
        try:
            code = process.wait(0.05)
        except subprocess.TimeoutExpired:
            if pidfile and pid_in(pidfile) == process.pid:
                break
        else:
            where = f"; {logfile} says why" if logfile else ": start it without --detach to see why"
            raise Failure(plain(f"it has ended at once, with exit code {code}{where}"), Exit.ERROR)
    process.returncode = 0  # it is no child to wait for
    return Exit.DONE


def _output(logfile: str | None) -> IO[bytes]:
    """Open the log for what is said before the log is open, or by C."""
    return Path(logfile or os.devnull).open("ab")


def pid_in(pidfile: str) -> int | None:
    """Read a process id; None if there is none."""
    try:
        return int(Path(pidfile).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def alive(pid: int) -> bool:
    """Return whether there is such a process, which has not ended and waits only for its parent."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # no Linux, or just gone
        return True


@contextlib.contextmanager
def held(path: str | None) -> Iterator[None]:
    """Hold a file with the process id while the program runs; raises ``Failure`` if a process that lives has it."""
    if path is None:
        yield
        return
    _refuse_second(path)
    file = Path(path)
    with writing("--pidfile"):
        file.write_text(f"{os.getpid()}\n", encoding="ascii")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _refuse_second(path: str | None) -> None:
    other = None if path is None else pid_in(path)
    if other is not None and other != os.getpid() and alive(other):
        raise Failure(plain(f"--pidfile: {path!r} names process {other}, which lives: is this worker started already?"))


def file_of(path: str | None, node: str) -> str | None:
    """Expand a node's ``%n`` (its first part), ``%d`` (its host), ``%h`` (all), and ``%i`` and ``%I``, of one file."""
    if path is None:
        return None
    first, _, host = node.partition("@")
    marks = {"%n": first, "%d": host, "%h": node, "%i": "0", "%I": "", "%%": "%"}
    return re.sub("%[ndhiI%]", lambda found: marks[found[0]], path)
