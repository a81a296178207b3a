"""An event: a dictionary with a type, a time, and the fields of its type."""

from __future__ import annotations

import itertools
import os
import re
import socket
import time
from typing import Any

Told = dict[str, Any]
"""An event as handlers get it."""


def Event(type: str, _fields: dict[str, Any] | None = None, **fields: Any) -> Told:
    """Make an event; its ``timestamp`` is now if none is given."""
    event = {**(_fields or {}), **fields}
    event.setdefault("timestamp", time.time())
    event["type"] = type
    return event


def group_from(type: str) -> str:
    """Return the first part of a type.

    >>> group_from("task-sent")
    'task'
    """
    return type.partition("-")[0]


def utcoffset() -> int:
    """Return how many hours local time is behind UTC, as Celery's events tell it."""
    return int((time.altzone if time.localtime().tm_isdst > 0 else time.timezone) // 3600)


def adjust_timestamp(ts: float, offset: int) -> float:
    """Return a time of a process whose local time is so many hours behind UTC, as one of this process."""
    return ts - (offset - utcoffset()) * 3600


def anon_nodename() -> str:
    """Return the name by which a process that is no worker tells events: ``gen123@host``."""
    return f"gen{os.getpid()}@{socket.gethostname()}"


class Clock:
    """A logical clock, as Lamport's: each event of a receiver gets a higher value than the one before."""

    def __init__(self) -> None:
        self.value = 0
        self._values = itertools.count(1)

    def forward(self) -> int:
        """Go on to the next value, and return it."""
        self.value = next(self._values)
        return self.value

    def adjust(self, other: int) -> int:
        """Go on to a value after this one and another one."""
        if other >= self.value:
            self._values = itertools.count(other + 1)
        return self.forward()


def fits(type: str, routing_key: str) -> bool:
    """Tell whether a type belongs to a routing key, such as ``task.*``: ``*`` is one word, ``#`` are any.

    >>> fits("task-failed", "task.*"), fits("worker-online", "task.*")
    (True, False)
    """
    words = {"#": ".*", "*": r"[^.]+"}
    pattern = r"\.".join(words.get(word, re.escape(word)) for word in routing_key.split("."))
    pattern = pattern.replace(r"\..*", r"(\..*)?").replace(r".*\.", r"(.*\.)?")
    return re.fullmatch(pattern, type.replace("-", ".")) is not None
