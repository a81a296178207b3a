"""Notices that the process that started the worker is gone, or its terminal is closed."""

from __future__ import annotations

import logging
import os

from lavoro.exceptions import ImproperlyConfigured
from lavoro.worker.supervisor.loop import Loop

logger = logging.getLogger("lavoro.worker")


class Parent:
    """The parent is gone when its end of a pipe is closed, or when the system gives the worker another parent.

    The second counts too because forks of the parent may hold the pipe open. Without a descriptor nothing is noticed.
    """

    def __init__(self, loop: Loop, descriptor: int | None) -> None:
        self._terminal = os.isatty(0)
        self._pid = None if descriptor is None else os.getppid()
        self._closed = False
        if descriptor is not None:
            self._watch(loop, descriptor)

    def _watch(self, loop: Loop, descriptor: int) -> None:
        def note() -> None:
            loop.forget(descriptor)
            self._closed = True

        try:
            loop.watch(descriptor, note)
        except (OSError, ValueError) as error:
            raise ImproperlyConfigured(f"--parent-fd: cannot wait for descriptor {descriptor}: {error}") from None

    def has_gone(self) -> bool:
        """Tell, once, that the parent is gone."""
        gone = self._pid is not None and (self._closed or self._pid != os.getppid())
        if gone:
            self._pid = None
            logger.info("the process that started this worker is gone")
        return gone

    @property
    def terminal_closed(self) -> bool:
        """Whether the worker was started in a terminal that is closed now."""
        return self._terminal and not os.isatty(0)
