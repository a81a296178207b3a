"""Starts, finds and signals the processes of nodes, which their pidfiles name."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click

from lavoro.cli.detach import alive, pid_in
from lavoro.cli.multi.nodes import Node

LOOK = 0.2
"""Seconds from look to look, while nodes end."""
TOLD = 2.0
"""Seconds after which it is told again which nodes have not ended."""


def start(node: Node) -> int:
    """Start a node, and wait until its pidfile is there; return the exit code of what starts it."""
    for option, file in (("--pidfile", node.pidfile), ("--logfile", node.logfile)):
        try:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.ClickException(
                f"{option}: {file!r} cannot be made: {error.strerror}; name another file"
            ) from None
    return subprocess.run(node.arguments, stdin=subprocess.DEVNULL, check=False).returncode


def pid_of(node: Node) -> int | None:
    """Read the pidfile; None if it is not there, or holds no number."""
    return pid_in(node.pidfile)


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; return whether there was a process of this user's to get it."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):  # another user's process has got that number meanwhile
        return False
    return True


def ended(nodes: Sequence[Node], *, waiting: Callable[[Sequence[int]], None]) -> Iterator[Node]:
    """Yield each node as it ends; tell from time to time which ones have not."""
    left = {node.name: (node, pid) for node in nodes if (pid := pid_of(node)) is not None}
    yield from (node for node in nodes if node.name not in left)  # it has ended, and removed its pidfile
    told = 0.0
    while left:
        if time.monotonic() - told > TOLD:
            waiting([pid for _, pid in left.values()])
            told = time.monotonic()
        for name, (node, pid) in list(left.items()):
            if not alive(pid):
                del left[name]
                yield node
        if left:
            time.sleep(LOOK)
