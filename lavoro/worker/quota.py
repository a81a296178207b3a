"""Counts the tasks that the processes of a worker start, and limits them together."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace

from lavoro.worker.config import WorkerOptions
from lavoro.worker.scoreboard import unnamed_file

UNLIMITED = 2**40
"""The most tasks of a worker that has no limit."""


class Quota:
    """The number of tasks that all processes of a worker may start.

    It is the position in a file that they have inherited: each start reads one byte, and the system lets no two
    processes read the same one. The file has no content, so its length takes no memory. Where a task has closed the
    descriptors of its process, that process starts no more tasks; its supervisor replaces it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._most = os.fstat(descriptor).st_size

    def take(self) -> bool:
        """Count a task that starts now; False if it may not."""
        with contextlib.suppress(OSError):
            return bool(os.read(self._descriptor, 1))
        return False

    @property
    def taken(self) -> int:
        """The number of tasks that were started."""
        with contextlib.suppress(OSError):
            return os.lseek(self._descriptor, 0, os.SEEK_CUR)
        return self._most

    @property
    def left(self) -> int:
        """The number of tasks that may still start."""
        return self._most - self.taken

    @staticmethod
    def provided(options: WorkerOptions) -> WorkerOptions:
        """Return options with the file that counts the starts, if they ask for a count."""
        if not (options.drain or options.max_tasks):
            return options
        descriptor = unnamed_file()
        os.ftruncate(descriptor, options.max_tasks or UNLIMITED)
        return replace(options, quota=descriptor)
