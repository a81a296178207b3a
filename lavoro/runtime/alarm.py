"""A pipe by which other threads wake a thread that waits for descriptors, and that wait."""

from __future__ import annotations

import contextlib
import math
import os
import select
import threading
from collections.abc import Iterable

from lavoro.runtime.native import hub


def readable(descriptors: Iterable[int], seconds: float | None) -> set[int]:
    """Wait until some of the descriptors can be read or are closed at the other end; return them.

    By ``poll``: ``select`` fails from descriptor 1024 on. Raises ``ValueError`` for one that is not open. On gevent's
    hub only the first one is returned.
    """
    if hub is not None:
        found = hub.wait(descriptors, hub.READ, math.inf if seconds is None else seconds)
        return set() if found is None else {found[1]}
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    ready = poll.poll(None if seconds is None else math.ceil(seconds * 1000))
    if closed := [descriptor for descriptor, events in ready if events & select.POLLNVAL]:
        raise ValueError(f"descriptor {closed[0]} is not open")
    return {descriptor for descriptor, _ in ready}


class Alarm:
    """Can be waited for like a socket; rings in threads and signal handlers never block.

    Nothing is open before ``open()`` and after ``close()``: then no thread waits, and ringing does nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        """A closed descriptor must not be written to: its number may be that of another file by then."""
        self._reader = self._writer = -1

    def open(self) -> None:
        """Make the pipe."""
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def fileno(self) -> int:
        """The descriptor that can be read once it has rung."""
        return self._reader

    @property
    def writer(self) -> int:
        """The descriptor to which signals are written, see ``signal.set_wakeup_fd``."""
        return self._writer

    def ring(self) -> None:
        """End the wait, or else the next one."""
        with self._lock:
            if self._writer >= 0:
                with contextlib.suppress(BlockingIOError):  # full: it rings already
                    os.write(self._writer, b"!")

    def silence(self) -> None:
        """Take back all rings so far."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)

    def close(self) -> None:
        """Close the pipe."""
        with self._lock:
            ends, self._reader, self._writer = (self._reader, self._writer), -1, -1
        for end in ends:
            if end >= 0:
                os.close(end)
