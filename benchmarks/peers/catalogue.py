"""The other task queues: what each needs, and the workers that its documentation recommends for short tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Peer:
    """One task queue in one shape.

    ``module`` is its adapter in this folder, ``requirements`` the file of pinned packages and the name of its virtual
    environment, ``workers`` the commands of its workers (the program is looked up in that environment).
    """

    name: str
    module: str
    requirements: str
    server: Literal["redis", "postgres"]
    workers: tuple[tuple[str, ...], ...]
    remark: str = ""
    table: str = ""
    """The table to lock until all workers are ready, of a peer so fast that its start would count."""


def _adapter(module: str) -> str:
    return f"benchmarks.peers.{module}"


_CELERY = ("celery", "-A", _adapter("celery_redis"), "worker", "-l", "WARNING", "--prefetch-multiplier", "64")
_PGQUEUER = ("python", "-m", _adapter("pgqueuer_asyncpg"))
_PROCRASTINATE = ("procrastinate", "--log-level", "warning", "-a", _adapter("procrastinate_pg") + ".app", "worker")

PEERS: dict[str, Peer] = {
    "celery-prefork": Peer(
        "Celery, prefork 2", "celery_redis", "celery", "redis", ((*_CELERY, "-P", "prefork", "-c", "2"),),
        "results kept in Redis; prefetch multiplier 64, as its guide has it for many short tasks",
    ),
    "celery-gevent": Peer(
        "Celery, gevent 100", "celery_redis", "celery", "redis", ((*_CELERY[:-2], "-P", "gevent", "-c", "100"),),
        "results kept in Redis",
    ),
    "dramatiq": Peer(
        "dramatiq, 2 processes", "dramatiq_redis", "dramatiq", "redis",
        (("dramatiq", _adapter("dramatiq_redis"), "--processes", "2", "--threads", "8"),), "no results",
    ),
    "pgqueuer": Peer(
        "PgQueuer, 2 workers", "pgqueuer_asyncpg", "pgqueuer", "postgres", (_PGQUEUER, _PGQUEUER),
        "asyncpg and uvloop; no results; batches of 500, the best of 10 to 2,000", "pgqueuer",
    ),
    "awa": Peer(
        "awa, 64 workers", "awa_pg", "awa", "postgres", (("python", "-m", _adapter("awa_pg")),), "no results",
    ),
    "potatoq": Peer(
        "potatoq, 2 processes", "potatoq_pg", "potatoq", "postgres",
        (("potatoq", "-A", _adapter("potatoq_pg"), "worker", "-c", "2", "-l", "WARNING"),), "results kept",
    ),
    "huey": Peer(
        "huey, 2 processes", "huey_pg", "huey", "postgres",
        (("huey_consumer", _adapter("huey_pg") + ".huey", "-k", "process", "-w", "2", "-q", "-n"),),
        "results off for None, its default; no call for lists",
    ),
    "saq": Peer(
        "SAQ, 2 processes", "saq_pg", "saq", "postgres",
        (("saq", _adapter("saq_pg") + ".settings", "--workers", "2"),), "results kept for 10 minutes, its default",
    ),
    "procrastinate": Peer(
        "procrastinate, 2 workers", "procrastinate_pg", "procrastinate", "postgres",
        ((*_PROCRASTINATE, "-c", "30"),) * 2, "no results",
    ),
}  # fmt: skip
