"""Celery on Redis, with results."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from celery import Celery

from benchmarks.stage.hits import mark, record

app = Celery("peer", broker=os.environ["PEER_URL"], backend=os.environ["PEER_URL"])
app.conf.broker_connection_retry_on_startup = True
many = None


@app.task
def noop(sent: float) -> None:
    """Record the seconds since ``sent``."""
    record(sent)


@app.task
def same(x: int) -> int:
    """Return the argument."""
    return x


@app.task
def length(results: list[int]) -> int:
    """Record the time, and return the number of results: the body of a chord."""
    mark(time.time())
    return len(results)


async def setup() -> None:
    """Redis needs nothing."""


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    """Celery connects by itself."""
    yield


async def one(sent: float) -> None:
    """Send a call."""
    noop.delay(sent)
