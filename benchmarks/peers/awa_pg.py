"""awa: its Rust core with a Python task; as a program it is the worker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from awa import AsyncClient

from benchmarks.stage.hits import record

SLOTS = 64
# Its parser wants a host also where a socket's folder is given.
URL = os.environ["PEER_URL"].replace("@/", "@localhost/", 1)
_clients: list[AsyncClient] = []


@dataclass
class Noop:
    """The arguments of the only task."""

    sent: float


@asynccontextmanager
async def _working() -> AsyncIterator[AsyncClient]:
    """Run tasks meanwhile."""
    async with AsyncClient(URL) as client:

        @client.task(Noop)
        async def noop(job: Any) -> None:
            record(job.args.sent)

        await client.start([("default", SLOTS)])
        yield client
        await client.shutdown()


async def work() -> None:
    """Run tasks until told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with _working():
        await stop.wait()


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    """Connect."""
    async with AsyncClient(URL) as client:
        _clients.append(client)
        yield


async def setup() -> None:
    """Make the tables; the first worker then switches to the storage that its documentation recommends."""
    await _clients[0].migrate()
    async with _working() as client:
        while json.loads(await client.storage_status())["active_engine"] != "queue_storage":
            await asyncio.sleep(0.1)


async def one(sent: float) -> None:
    """Send a call."""
    await _clients[0].insert(Noop(sent))


async def many(sents: list[float]) -> None:
    """Send a list of calls."""
    await _clients[0].enqueue_many_copy([Noop(sent) for sent in sents])


if __name__ == "__main__":
    asyncio.run(work())
