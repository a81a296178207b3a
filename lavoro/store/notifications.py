"""Notifications of a schema's channel ``wake``: a word for what happened, then its fields, such as ``due:5:mail``.

SQL writes the same words; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple


class Due(NamedTuple):
    """A task is due on this queue."""

    priority: int
    queue: str


class Later(NamedTuple):
    """A task for a later time was stored on this queue."""

    priority: int
    queue: str


class Back(NamedTuple):
    """Tasks were requeued, perhaps older than those claimed last; an empty name: on any queue."""

    queue: str


class Cancel(NamedTuple):
    """A running task of this worker is to be cancelled."""

    worker_id: int
    id: str


class Ended(NamedTuple):
    """A task that this worker runs was ended from outside."""

    worker_id: int
    id: str


class Unhandled(NamedTuple):
    """A task of this queue ended without a process: its handlers are due."""

    queue: str


class Schedules(NamedTuple):
    """Schedules were changed."""

    word: str = ""


class Limits(NamedTuple):
    """A limit holds tasks that come back when time has passed."""

    word: str = ""


class Command(NamedTuple):
    """A command was sent to this node."""

    node: str


class Lease(NamedTuple):
    """A lease begins, or gets shorter, and ends in so many seconds."""

    seconds: float


Notification = Due | Later | Back | Cancel | Ended | Unhandled | Schedules | Limits | Command | Lease

_WORKER, _ID = r"(\d{1,19})", r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_LANE = r"(-?\d{1,5}):(.*)"
_GRAMMAR: dict[str, tuple[re.Pattern[str], Callable[..., Notification]]] = {
    "due": (re.compile(_LANE, re.DOTALL), lambda priority, queue: Due(int(priority), queue)),
    "later": (re.compile(_LANE, re.DOTALL), lambda priority, queue: Later(int(priority), queue)),
    "back": (re.compile("(.*)", re.DOTALL), Back),
    "cancel": (re.compile(f"{_WORKER}:{_ID}"), lambda worker, id: Cancel(int(worker), id)),
    "ended": (re.compile(f"{_WORKER}:{_ID}"), lambda worker, id: Ended(int(worker), id)),
    "unhandled": (re.compile("(.*)", re.DOTALL), Unhandled),
    "schedules": (re.compile("()"), Schedules),
    "limits": (re.compile("()"), Limits),
    "command": (re.compile("(.+)", re.DOTALL), Command),
    "lease": (re.compile(r"(\d{1,9}(?:\.\d{1,9})?)"), lambda seconds: Lease(float(seconds))),
}
WORDS = tuple(_GRAMMAR)


def read(payload: str) -> Notification | None:
    """Return the notification of a payload; None if this release does not know it: any user may notify."""
    word, colon, fields = payload.partition(":")
    if not colon or word not in _GRAMMAR:
        return None
    pattern, make = _GRAMMAR[word]
    found = pattern.fullmatch(fields)
    return make(*found.groups()) if found else None


def write(notification: Notification) -> str:
    """Return the payload."""
    return ":".join([type(notification).__name__.lower(), *map(str, notification)])
