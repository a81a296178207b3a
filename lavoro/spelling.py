"""Finds the known name that a misspelt one probably means."""

from __future__ import annotations

import difflib
import warnings
from functools import lru_cache

from lavoro.errors import LavoroWarning

_NEAR = 0.8
"""The least similarity of two names; ``max_retry`` and ``max_retries`` have just this one."""


@lru_cache(maxsize=1024)
def nearest(name: str, known: frozenset[str]) -> str | None:
    """Return the known name that is nearest to an unknown one; None if none is near, or the name is known.

    >>> nearest("retry_backof", frozenset({"retry_backoff", "retry_jitter"}))
    'retry_backoff'
    """
    found = [] if name in known else difflib.get_close_matches(name, sorted(known), n=1, cutoff=_NEAR)
    return found[0] if found else None


@lru_cache(maxsize=1024)
def warn_of(what: str, name: str, known: frozenset[str]) -> None:
    """Warn, once, of a name that is nearly a known one; names that are like none pass."""
    meant = nearest(name, known)
    if meant is not None:
        warnings.warn(f"{what} {name!r} means nothing here: did you mean {meant!r}?", LavoroWarning, stacklevel=2)
