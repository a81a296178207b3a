"""SAQ on PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from saq import Queue

from benchmarks.stage.hits import record

queue = Queue.from_url(os.environ["PEER_URL"])
many = None


async def noop(context: dict[str, Any], *, sent: float) -> None:
    """Record the seconds since ``sent``."""
    record(sent)


settings = {"queue": queue, "functions": [noop], "concurrency": 10}


async def setup() -> None:
    """It makes its tables when it connects."""


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    """Connect."""
    await queue.connect()
    yield
    await queue.disconnect()


async def one(sent: float) -> None:
    """Send a call."""
    await queue.enqueue("noop", sent=sent)
