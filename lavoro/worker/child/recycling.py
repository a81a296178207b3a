"""Decides when a fresh process replaces a child: after a number of tasks, or above a size of memory."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

from lavoro.text.plural import counted

MEMORY_INTERVAL = 1.0
"""Seconds between two measurements of the memory."""


class RecyclePolicy:
    """Counts tasks and measures memory; ``most_memory`` is in KiB, and 0 is no limit."""

    def __init__(self, *, most_tasks: int, most_memory: int) -> None:
        self.limited = bool(most_tasks or most_memory)
        self._most_tasks, self._most_memory = most_tasks, most_memory
        self._ended = 0
        self._measured = 0.0

    def count(self) -> str | None:
        """Count a task that has ended; return the reason to replace the process, once, when there is one."""
        self._ended += 1
        reason = counted(self._ended, "task") if 0 < self._most_tasks <= self._ended else self._growth()
        if reason is not None:
            self.limited = False
        return reason

    def _growth(self) -> str | None:
        now = time.monotonic()
        if not self._most_memory or now - self._measured <= MEMORY_INTERVAL:
            return None
        self._measured, used = now, memory_in_use()
        return f"growing to {used:,} KiB" if used > self._most_memory else None


def memory_in_use() -> int:
    """Return this process's resident memory in KiB; where the system does not tell, the most it ever was."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() // 1024
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak // 1024 if sys.platform == "darwin" else peak
