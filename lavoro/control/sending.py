"""Sends a command to nodes, and waits for their replies."""

from __future__ import annotations

import fnmatch
import getpass
import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lavoro.exceptions import ImproperlyConfigured
from lavoro.store import commands
from lavoro.store.database import Database
from lavoro.text.printable import plain

Answer = dict[str, Any]
"""A reply as Celery gives it: the node, and what it said."""

FIRST_LOOK, LONGEST_PAUSE = 0.003, 0.05
"""Seconds until the first look for replies, and the most between two: a reply takes some milliseconds."""
EXPIRES = 600.0
"""Seconds after which a command is not carried out any more: a node that was cut off would surprise its operator."""


def chosen(
    names: Iterable[str], *, destination: Sequence[str] | str | None, pattern: str | None, matcher: str | None
) -> list[str]:
    """Choose the nodes that a command is for: those of a destination, that match a pattern; both None: all."""
    nodes = dict.fromkeys(names)
    if destination is not None:
        wanted = [destination] if isinstance(destination, str) else list(destination)
        nodes = {node: None for node in nodes if node in wanted}
    if pattern is None:
        return list(nodes)
    fits = matching(pattern, matcher)
    return [node for node in nodes if fits(node)]


def matching(pattern: str, matcher: str | None) -> Callable[[str], bool]:
    """Return what tells whether a name fits a pattern: ``glob`` (the default), or ``pcre``, a regular expression."""
    if matcher in (None, "glob"):
        return lambda name: fnmatch.fnmatchcase(name, pattern)
    if matcher != "pcre":
        raise ValueError(f"a matcher is 'glob' or 'pcre', not {matcher!r}")
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"the pattern {pattern!r} is no regular expression: {error}") from None
    return lambda name: expression.match(name) is not None


def sender() -> str:
    """Return the user and the host of this process, which the audit shows."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        user = "unknown"
    return plain(f"{user}@{socket.gethostname()}")


class Sending:
    """One command that is sent, and its replies."""

    def __init__(self, database: Database, name: str, arguments: Mapping[str, Any]) -> None:
        if not name:
            raise ImproperlyConfigured("a command needs a name")
        self._database, self._name, self._arguments = database, name, arguments
        self.id: int | None = None
        self.nodes: list[str] = []
        """The nodes that it was sent to."""

    def send(
        self, *, destination: Sequence[str] | str | None = None, pattern: str | None = None,
        matcher: str | None = None, expires: float = EXPIRES,
    ) -> None:  # fmt: skip
        """Send it to the nodes that live now; it expires after so many seconds."""
        with self._database.tx() as tx:
            nodes = chosen(commands.nodes(tx), destination=destination, pattern=pattern, matcher=matcher)
            if nodes:
                self.id, self.nodes = commands.send(
                    tx, self._name, self._arguments, nodes=nodes, sender=sender(), expires=expires
                )

    def replies(
        self, *, timeout: float, limit: int | None = None, told: Callable[[Answer], object] | None = None
    ) -> list[Answer]:
        """Wait for replies of the nodes that live, at most so many seconds and replies; ``told`` gets each."""
        if self.id is None:
            return []
        deadline, pause = time.monotonic() + timeout, FIRST_LOOK
        answers: dict[str, Answer] = {}
        most = len(self.nodes) if limit is None else min(limit, len(self.nodes))
        while True:
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            with self._database.tx() as tx:
                found = commands.replies(tx, self.id)
            for reply in found:
                if reply.given and reply.node not in answers and len(answers) < most:
                    answers[reply.node] = {reply.node: reply.value}
                    if told is not None:
                        told(answers[reply.node])
            awaited = any(reply.lives and not reply.given for reply in found)
            if len(answers) >= most or not awaited or time.monotonic() >= deadline:
                return list(answers.values())
            pause = min(2 * pause, LONGEST_PAUSE)
