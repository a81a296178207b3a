"""potatoq on PostgreSQL, with results."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from potatoq import Potatoq, group

from benchmarks.stage.hits import record

app = Potatoq("peer", broker=os.environ["PEER_URL"])


@app.task
def noop(sent: float) -> None:
    """Record the seconds since ``sent``."""
    record(sent)


async def setup() -> None:
    """It makes its tables with the first call."""


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    """It connects by itself."""
    yield


async def one(sent: float) -> None:
    """Send a call."""
    noop.delay(sent)


async def many(sents: list[float]) -> None:
    """Send a list of calls, as a group."""
    group(noop.s(sent) for sent in sents).delay()
