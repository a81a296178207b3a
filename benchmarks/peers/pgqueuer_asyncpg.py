"""PgQueuer on asyncpg and uvloop; as a program it is the worker."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.stage.hits import record

BATCH = int(os.environ.get("PEER_BATCH", "500"))
_queries: list[Queries] = []


async def work() -> None:
    """Run tasks until killed."""
    worker = PgQueuer(AsyncpgDriver(await asyncpg.connect(os.environ["PEER_URL"])))

    @worker.entrypoint("noop")
    async def noop(job: Job) -> None:
        record(float(job.payload or b"0"))

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.shutdown.set)
    await worker.run(batch_size=BATCH)


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    """Connect."""
    connection = await asyncpg.connect(os.environ["PEER_URL"])
    _queries.append(Queries(AsyncpgDriver(connection)))
    yield
    await connection.close()


async def setup() -> None:
    """Make the tables."""
    await _queries[0].install()


async def one(sent: float) -> None:
    """Send a call."""
    await _queries[0].enqueue("noop", repr(sent).encode())


async def many(sents: list[float]) -> None:
    """Send a list of calls."""
    await _queries[0].enqueue(["noop"] * len(sents), [repr(sent).encode() for sent in sents], [0] * len(sents))


if __name__ == "__main__":
    uvloop.run(work())
