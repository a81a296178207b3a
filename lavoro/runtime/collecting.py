"""Keeps Python's collector of circles away while thousands of objects are made that all stay."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

MANY = 1000
"""Objects from which on it is worth it: the collector would look at all of them again and again."""


@contextlib.contextmanager
def uncollected(count: int) -> Iterator[None]:
    """Let no collection begin in a block that makes ``count`` objects, if these are many; it must not wait."""
    if count < MANY or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
