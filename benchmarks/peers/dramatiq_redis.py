"""dramatiq on Redis, without results, as is its default."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.stage.hits import record

dramatiq.set_broker(RedisBroker(url=os.environ["PEER_URL"]))
many = None


@dramatiq.actor
def noop(sent: float) -> None:
    """Record the seconds since ``sent``."""
    record(sent)


async def setup() -> None:
    """Redis needs nothing."""


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    """The broker connects by itself."""
    yield


async def one(sent: float) -> None:
    """Send a call."""
    noop.send(sent)
