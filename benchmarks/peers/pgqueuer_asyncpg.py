"""PgQueuer on asyncpg."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.stage.hits import record

_queries: list[Queries] = []


async def main() -> PgQueuer:
    """Make a worker, for `pgq run`."""
    worker = PgQueuer(AsyncpgDriver(await asyncpg.connect(os.environ["PEER_URL"])))

    @worker.entrypoint("noop")
    async def noop(job: Job) -> None:
        record(float(job.payload or b"0"))

    return worker


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
