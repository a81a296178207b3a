"""The form in which a state of a task's own is stored, and its limits."""

from __future__ import annotations

from typing import NamedTuple

from lavoro import serialization
from lavoro.protocol.failure import printable
from lavoro.text.printable import cut, told

LONGEST_STATE = 100
"""Characters of a state of a task's own."""


class TooLong(ValueError):
    """The metadata of a state is too long to be stored."""


class Progress(NamedTuple):
    """A state of a task's own, with its metadata."""

    state: str
    meta: str | None
    """JSON text; None for none."""


def progress(state: object, meta: object, longest: int) -> Progress:
    """Encode a state; raises ``TooLong`` if its metadata is longer than so many characters."""
    text = serialization.dumps(meta) if meta is not None else None
    if text is not None and len(text) > longest:
        raise TooLong(f"it has {len(text)} characters, more than {longest} (lavoro_max_progress_size)")
    return Progress(printable(cut(told(state), LONGEST_STATE)), text)
