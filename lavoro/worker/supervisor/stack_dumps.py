"""Stack dumps of a child: the file into which faulthandler writes them, and the tasks that they show."""

from __future__ import annotations

import os
import re
from pathlib import Path

import lavoro
from lavoro.worker.scoreboard import SLOT_FUNCTION, unnamed_file

_THREAD = re.compile(r"^(?=(?:Current thread|Thread) 0x)", re.MULTILINE)
_SLOT = re.compile(rf" in {SLOT_FUNCTION}(\d+)$", re.MULTILINE)
_PACKAGE = f"{Path(lavoro.__file__).parent}{os.sep}"
_OURS = '  File "' + _PACKAGE.encode("ascii", "backslashreplace").decode()
"""How the line of a call in a module of ours begins."""
_EXECUTION = f"{_OURS}execution{os.sep}"
"""Likewise, of the package that calls tasks."""


class StackDumps:
    """A file without a name, which the child inherits; ``read`` returns its new part."""

    def __init__(self) -> None:
        self.descriptor = unnamed_file()
        self._read = 0

    def read(self) -> str:
        """Return the dumps since the last time."""
        text = os.pread(self.descriptor, 65_536, self._read)
        self._read += len(text)
        return text.decode(errors="replace").strip()

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)


def calls_of_tasks(dump: str) -> str:
    """Keep the threads that run a task, innermost call first, without the calls of ours that led there.

    Without such a thread the whole dump is returned: a stack may be deeper than the calls that a dump shows.
    """
    return "\n".join(filter(None, map(_calls_of_task, _THREAD.split(dump)))) or dump


def _calls_of_task(thread: str) -> str:
    """Return the calls inside of the outermost call by ``lavoro.execution``; nothing if there is none."""
    calls = [line for line in thread.splitlines() if line.startswith("  ")]
    depth = max((place for place, call in enumerate(calls) if call.startswith(_EXECUTION)), default=0)
    while depth and calls[depth - 1].startswith(_OURS):
        depth -= 1
    return "\n".join(calls[:depth])


def slots(dump: str) -> set[int]:
    """Return the slots whose tasks the dump shows: each slot runs its tasks in a function of its own name."""
    return {int(slot) for slot in _SLOT.findall(dump)}
