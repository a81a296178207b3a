"""Names a step of a start or an end in the log while it takes long, so that one that hangs is found."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lavoro.runtime.native import NativeThread

logger = logging.getLogger("lavoro.worker")

SLOW = 10.0
"""Seconds until a step is named."""
AGAIN = 60.0
"""Seconds until it is named again."""


@contextmanager
def named_when_slow(step: str) -> Iterator[None]:
    """Log a warning while the block takes longer than ``SLOW`` seconds, even if it blocks the whole event loop."""
    begun = time.monotonic()
    pauses = iter((SLOW,))

    def tell() -> float:
        pause = next(pauses, None)
        if pause is not None:
            return pause
        logger.warning("%s has taken %.0f s so far", step, time.monotonic() - begun)
        return AGAIN

    thread = NativeThread("watch of slow steps", tell)
    thread.start()
    try:
        yield
    finally:
        thread.stop()
