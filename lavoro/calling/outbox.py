"""Gathers the messages of one canvas, so that they are stored together or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from lavoro.calling.publish_signals import Announcement, tell_published
from lavoro.calling.transactions import joined, joining
from lavoro.protocol.message import Message
from lavoro.store.uniques import are_unique

HOW = ("connection", "retry", "retry_policy")
"""The options that say how messages are published."""
_USUAL: Mapping[str, Any] = MappingProxyType({})


class Outbox:
    """Messages that are composed and not stored yet, and their announcements for receivers of signals."""

    __slots__ = ("messages", "shown")

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.shown: list[Announcement] = []

    def refuse_unique(self) -> None:
        """Raise ``ValueError`` if a message is unique: the others would wait for a task that is not stored."""
        for message in self.messages:
            if are_unique([message]):
                raise ValueError(
                    f"{message.name} is unique, and cannot be part of a chain, group or chord: send it alone, or with"
                    " unique=False"
                )


@contextlib.contextmanager
def gathered(app: Any, how: Mapping[str, Any] = _USUAL) -> Iterator[None]:
    """Let the calls of a block be stored together at its end, or with those of the block around it."""
    outer = joined(app)
    if isinstance(outer, Outbox):
        yield
        return
    with composed(app) as outbox:
        yield
    outbox.refuse_unique()
    if outbox.messages:
        app.publish(outbox.messages, signed=True, **how)
        if how.get("connection") is None and outer is None:
            tell_published(outbox.shown)


@contextlib.contextmanager
def composed(app: Any) -> Iterator[Outbox]:
    """Let the calls of a block be kept, and yield where; the caller stores them."""
    outbox = Outbox()
    with joining(app, outbox):
        yield outbox
