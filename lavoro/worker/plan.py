"""What a worker is to do: the command line's wishes, and what they become once the application is known."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for; None leaves it to the settings."""

    app: str
    pool: str | None = None
    concurrency: int | None = None
    processes: int | None = None
    queues: tuple[str, ...] = ()
    exclude_queues: tuple[str, ...] = ()
    hostname: str | None = None
    loglevel: str = "WARNING"
    logfile: str | None = None
    log_style: str = "text"
    time_limit: float | None = None
    soft_time_limit: float | None = None
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    """KiB."""
    grace: float | None = None
    database: str | None = None
    purge: bool = False
    include: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As JSON can carry it to a child."""
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """What the first child, which has read the application's settings, tells the supervisor."""

    url: str | None
    """None: the embedded database."""
    data_folder: str | None
    schema: str
    connect_timeout: float
    retry_at_start: bool
    pool: str
    slots: int
    processes: int
    queues: tuple[str, ...]
    lease: float
    grace: float
    max_crashes: int
    blocked_warning: float
    success_expires: float | None
    failure_expires: float | None
    tasks: tuple[str, ...]

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Plan:
        """Read what came over the pipe."""
        return cls(**{**fields, "queues": tuple(fields["queues"]), "tasks": tuple(fields["tasks"])})


def make_plan(app: Any, wishes: Wishes) -> Plan:
    """Fill the wishes up with the application's settings."""
    conf = app.conf
    pool = wishes.pool or conf.worker_pool
    each, processes = _shape(pool, wishes.concurrency or conf.worker_concurrency, wishes.processes)
    queues = wishes.queues or tuple(app.queues)
    return Plan(
        url=conf.database_url,
        data_folder=conf.lavoro_data_folder,
        schema=conf.lavoro_schema,
        connect_timeout=conf.broker_connection_timeout,
        retry_at_start=bool(conf.broker_connection_retry_on_startup),
        pool=pool,
        slots=each,
        processes=processes,
        queues=tuple(queue for queue in queues if queue not in wishes.exclude_queues),
        lease=conf.lavoro_lease,
        grace=conf.lavoro_shutdown_grace if wishes.grace is None else wishes.grace,
        max_crashes=conf.lavoro_max_crashes,
        blocked_warning=1.0,
        success_expires=conf.seconds("result_expires"),
        failure_expires=conf.seconds("lavoro_failure_expires"),
        tasks=tuple(sorted(app.tasks)),
    )


def _shape(pool: str, concurrency: int | None, processes: int | None) -> tuple[int, int]:
    """Return slots per process and processes: prefork is many processes of one slot each."""
    if pool == "prefork":
        return 1, processes or concurrency or os.cpu_count() or 1
    if pool == "solo":
        return 1, processes or 1
    default = 100 if pool == "gevent" else os.cpu_count() or 1
    return concurrency or default, processes or 1
