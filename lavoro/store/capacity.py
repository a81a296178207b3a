"""Finds the number of connections that the application's own SQLAlchemy engines have for its tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa


class Capacity(NamedTuple):
    """The engine with the fewest connections."""

    name: str
    connections: float
    """In each process; infinity without a limit."""
    timeout: float
    """Seconds that a task waits for a free one until it fails."""


UNLIMITED = Capacity("none", math.inf, math.inf)


def smallest(engines: Sequence[tuple[str, Any]]) -> Capacity:
    """Find the engine whose pool has the fewest connections."""
    return min(
        (_capacity(name, getattr(engine, "sync_engine", engine)) for name, engine in engines),
        key=lambda capacity: capacity.connections,
        default=UNLIMITED,
    )


def _capacity(name: str, engine: Any) -> Capacity:
    """Read a pool; it has no limit if it opens a connection for each user, or shares one among all."""
    pool = engine.pool
    if not isinstance(pool, sa.QueuePool) or pool._max_overflow == -1:
        return Capacity(name, math.inf, math.inf)
    return Capacity(name, pool.size() + pool._max_overflow, pool.timeout())
