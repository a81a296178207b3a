"""A violation: which invariant, what is wrong, and of which task."""

from __future__ import annotations

from typing import NamedTuple


class Violation(NamedTuple):
    """Something that must never be."""

    invariant: str
    what: str
    id: str | None = None

    def __str__(self) -> str:
        return f"{self.invariant} {f'[{self.id}] ' if self.id else ''}{self.what}"
