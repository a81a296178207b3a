"""The two forms of a task on its way: the ``Message`` that is sent, and the ``Job`` that a worker has claimed."""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from lavoro import serialization
from lavoro.protocol.place import Place

VERSION = 1
"""The version of messages: a later release puts a higher ``v`` in the options when this one would misread them."""


class Packed(str):
    """Options as JSON that keep what they say: a run in the same process need not read them."""

    __slots__ = ("options",)

    options: Mapping[str, Any]


class Message(NamedTuple):
    """A task to be stored; arguments and options are encoded already."""

    id: uuid.UUID
    name: str
    queue: str
    priority: int
    retries: int
    eta: dt.datetime | None
    countdown: float
    """Seconds from now, by the database's clock; 0 for at once."""
    expires: dt.datetime | None
    expires_in: float | None
    args: str | None
    """JSON array; None when ``payload`` holds the arguments."""
    kwargs: str | None
    """JSON object; None for none."""
    options: str | None
    """JSON object of the other options that the worker needs; None for none."""
    payload: bytes | None
    """``(args, kwargs)`` in another serializer, named by ``content_type`` in the options."""
    place: Place | None = None
    """Its place in a canvas; None for a task without."""


class Job(NamedTuple):
    """A claimed task, column by column as the claim returns it."""

    id: uuid.UUID
    name: str
    args: str | None
    kwargs: str | None
    options: str | None
    payload: bytes | None
    queue: str
    priority: int
    attempt: int
    """How often the task has been started, this start included. With the id and the worker's id it is the fence."""
    retries: int
    crashes: int
    due: dt.datetime
    expires: dt.datetime | None
    expired: bool
    revoked: bool

    @property
    def task_id(self) -> str:
        """The caller's own id, which need not be a UUID; that of the row, if the options cannot be read."""
        if self.options is not None and '"task_id"' in self.options:
            with contextlib.suppress(Exception):  # a damaged row fails when it is run
                return str(self.read_options().get("task_id") or self.id)
        return str(self.id)

    def read_options(self) -> dict[str, Any]:
        """Decode the options; raises ValueError when a person has damaged the row."""
        if type(self.options) is Packed:
            return dict(self.options.options)
        options = serialization.loads(self.options) if self.options else {}
        if not isinstance(options, dict):
            raise ValueError(f"options must be a JSON object, not {self.options!r:.80}")
        return options


def pack_options(options: Mapping[str, Any]) -> str | None:
    """Encode a message's options without None and empty values; None when none is left."""
    kept = {key: value for key, value in options.items() if value is not None and value != {}}
    return serialization.dumps(kept) if kept else None
