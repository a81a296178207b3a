"""huey on PostgreSQL, with results."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from huey import PostgresHuey

from benchmarks.stage.hits import record

huey = PostgresHuey("peer", dsn=os.environ["PEER_URL"])


@huey.task()
def noop(sent: float) -> None:
    """Record the seconds since ``sent``."""
    record(sent)


async def setup() -> None:
    """It makes its tables with the first connection."""
    huey.pending_count()


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    """It connects by itself."""
    yield


async def one(sent: float) -> None:
    """Send a call."""
    noop(sent)


many = None
