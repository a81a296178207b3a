"""Finds the known name that a misspelt one probably means."""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import MutableMapping
from functools import lru_cache
from pathlib import Path
from types import FrameType

from lavoro.exceptions import LavoroWarning

_OURS = (f"{Path(__file__).parents[1]}/", MutableMapping.update.__code__.co_filename)
"""How the files of this package begin, and the one through which settings are updated."""
_NEAR = 0.8
"""The least similarity of two names; ``max_retry`` and ``max_retries`` have just this one."""


@lru_cache(maxsize=1024)
def nearest(name: str, known: frozenset[str]) -> str | None:
    """Return the known name that is nearest to an unknown one; None if none is near, or the name is known.

    >>> nearest("retry_backof", frozenset({"retry_backoff", "retry_jitter"}))
    'retry_backoff'
    """
    if name in known or not isinstance(name, str):  # a dict of the user's may have any keys
        return None
    found = difflib.get_close_matches(name, sorted(known), n=1, cutoff=_NEAR)
    return found[0] if found else None


@lru_cache(maxsize=1024)
def warn_of(what: str, name: str, known: frozenset[str]) -> None:
    """Warn, once and with the caller's line, of a name that is nearly a known one; names that are like none pass."""
    meant = nearest(name, known)
    if meant is not None:
        text = f"{what} {name!r} means nothing here: did you mean {meant!r}?"
        warnings.warn(text, LavoroWarning, stacklevel=outside())


def outside() -> int:
    """Return which caller, counted from the one of this function, is the first that is not of this package."""
    frame: FrameType | None = sys._getframe(1)
    level = 1
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        frame, level = frame.f_back, level + 1
    return level
