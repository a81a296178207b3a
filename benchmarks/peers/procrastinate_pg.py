"""procrastinate on psycopg."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import procrastinate

from benchmarks.stage.hits import record

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["PEER_URL"]))


@app.task
async def noop(sent: float) -> None:
    """Record the seconds since ``sent``."""
    record(sent)


async def setup() -> None:
    """Make the tables."""
    await app.schema_manager.apply_schema_async()


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    """Connect."""
    async with app.open_async():
        yield


async def one(sent: float) -> None:
    """Send a call."""
    await noop.defer_async(sent=sent)


async def many(sents: list[float]) -> None:
    """Send a list of calls."""
    await noop.batch_defer_async(*({"sent": sent} for sent in sents))
