"""Sends calls to one peer from its own environment, `python -m benchmarks.peers.drive MODULE VERB COUNT [NUMBER]`.

The adapter is a module with three coroutine functions: ``setup()`` makes the tables, ``one(sent)`` sends one call and
``many(sents)`` sends a list; ``many`` is None where the peer has no call for lists. ``opened()`` is an asynchronous
context manager around all sending.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

LIST, WARM = 10_000, 10


async def setup(peer: Any, count: int) -> None:
    """Make the peer's tables."""
    await peer.setup()


async def one(peer: Any, count: int) -> float:
    """Send calls one by one; return the rate."""
    for _ in range(WARM):
        await peer.one(time.time())
    start = time.perf_counter()
    for _ in range(count):
        await peer.one(time.time())
    return count / (time.perf_counter() - start)


async def many(peer: Any, count: int) -> float | None:
    """Send calls in lists; return the rate."""
    if peer.many is None:
        return None
    await peer.many([time.time()] * WARM)
    start = time.perf_counter()
    for first in range(0, count, LIST):
        await peer.many([time.time()] * min(LIST, count - first))
    return count / (time.perf_counter() - start)


async def preload(peer: Any, count: int) -> None:
    """Send exactly so many calls, the fastest way."""
    if peer.many is not None:
        await peer.many([time.time()] * count)
        return
    for _ in range(count):
        await peer.one(time.time())


async def paced(peer: Any, count: int, rate: float) -> None:
    """Send calls at a steady rate."""
    start = time.perf_counter()
    for number in range(count):
        await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
        await peer.one(time.time())


VERBS: dict[str, Callable[..., Awaitable[float | None]]] = {
    "setup": setup, "one": one, "many": many, "preload": preload, "paced": paced,
}  # fmt: skip


async def main(module: str, verb: str, count: str, *numbers: str) -> None:
    """Run one verb and print what it measured as the last line."""
    peer = importlib.import_module(module)
    async with peer.opened():
        found = await VERBS[verb](peer, int(count), *map(float, numbers))
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
