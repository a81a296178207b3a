"""The configuration of a worker: the options of its command line, and the resolved values of options and settings."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import lavoro
from lavoro.calling.routing import checked_name, queue_names
from lavoro.config import absent
from lavoro.exceptions import ImproperlyConfigured, QueueNotFound
from lavoro.store.capacity import smallest
from lavoro.text.plural import counted
from lavoro.text.printable import plain

FAILED = 3
"""Exit code of a worker that ends by itself, and of ``lavoro run``, if a task has failed."""


@dataclass(frozen=True)
class WorkerOptions:
    """The options of the command line; None leaves a value to the settings."""

    app: str
    pool: str | None = None
    concurrency: int | None = None
    autoscale: tuple[int, int] | None = None
    """The most and the least slots, between which the load chooses."""
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
    liveness_file: str | None = None
    prefetch_multiplier: int | None = None
    drain: bool = False
    max_tasks: int | None = None
    quota: int | None = None
    """The descriptor of the file that counts the tasks started; all processes of the worker inherit it."""
    beat: bool | None = None
    """Whether it sends the tasks of schedules."""
    task_events: bool = False
    """Whether monitors are told of its tasks; False leaves that to the settings."""
    scheduler: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Those of the command line; they win over the application's."""
    command: tuple[str, ...] = ("lavoro",)
    """The command line, which the application sees in ``sys.argv``."""

    def as_dict(self) -> dict[str, Any]:
        """Return the options as JSON can carry them to a child."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> WorkerOptions:
        """Read the options that came over the pipe."""
        return cls(**{each.name: values[each.name] for each in fields(cls)})


@dataclass(frozen=True)
class WorkerConfig:
    """The resolved values, which a child sends to its supervisor after it has read the application's settings."""

    url: str | None
    """None: the embedded database."""
    data_dir: str | None
    pooled: bool
    direct_url: str | None
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
    blocked_timeout: float | None
    success_expires: float | None
    """None: for ever, as for failures."""
    failure_expires: float | None
    tasks: tuple[str, ...]
    starts_node: bool
    """Whether functions run once for the node before its first task."""
    stops_node: bool
    """Whether functions run once for the node after its last task."""
    runs_schedules: bool = True
    answers_commands: bool = True
    task_events: bool = False
    """Whether monitors are told of its tasks."""
    tick_expires: float | None = None
    command_expires: float | None = None
    autoscale: tuple[int, int] | None = None
    """The most and the least processes of a prefork pool, else slots of each process."""
    modules: tuple[str, ...] = ()
    """The modules of tasks, which each process imports."""
    notes: tuple[str, ...] = ()
    """Warnings to log when the worker begins."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> WorkerConfig:
        """Read the values that came over the pipe."""
        lists = {name: tuple(values[name]) for name in ("queues", "tasks", "modules", "notes")}
        bounds = None if values["autoscale"] is None else (values["autoscale"][0], values["autoscale"][1])
        return cls(**{**values, **lists, "autoscale": bounds})

    def fixed(self, former: WorkerConfig) -> list[str]:
        """Name the values that differ from an earlier configuration and that a running worker cannot take over."""
        names = (each.name for each in fields(self) if each.name not in RELOADED)
        return [_SETTINGS.get(name, name) for name in names if getattr(self, name) != getattr(former, name)]

    @property
    def retention(self) -> dict[str, float | None]:
        """Seconds for which the rows of each table are kept; None for ever."""
        return {
            "finished_success": self.success_expires,
            "finished_failure": self.failure_expires,
            "attempt": self.failure_expires,
            "tick": self.tick_expires,
            "command": self.command_expires,
        }

    def summary(self, node: str, *, app: str, database: str) -> str:
        """Return the line that says that a node is ready, with its pool, queues and tasks."""
        processes, slots = counted(self.processes, "process", "processes"), counted(self.slots, "slot")
        queues, tasks = counted(len(self.queues), "queue"), counted(len(self.tasks), "task")
        return (
            f"{node} ready: {self.pool}, {processes} of {slots}, {queues} ({', '.join(self.queues)}), {tasks};"
            f" Lavoro {lavoro.__version__}, app {app}, database {database}"
        )


RELOADED = ("slots", "processes", "queues", "grace", "tasks", "modules", "starts_node", "stops_node", "notes")
"""The values that a reload takes over: those that concern new processes, and the end of the node."""
_SETTINGS = {
    "url": "broker_url",
    "data_dir": "lavoro_data_dir",
    "pooled": "lavoro_pooled",
    "direct_url": "lavoro_direct_url",
    "schema": "lavoro_schema",
    "connect_timeout": "broker_connection_timeout",
    "retry_at_start": "broker_connection_retry_on_startup",
    "pool": "worker_pool",
    "lease": "lavoro_lease",
    "max_crashes": "lavoro_max_crashes",
    "blocked_timeout": "lavoro_blocked_timeout",
    "success_expires": "result_expires",
    "failure_expires": "lavoro_failure_expires",
    "runs_schedules": "lavoro_run_schedules",
    "answers_commands": "worker_enable_remote_control",
    "task_events": "worker_send_task_events",
    "tick_expires": "lavoro_tick_expires",
    "command_expires": "lavoro_command_expires",
}


def make_config(app: Any, options: WorkerOptions) -> WorkerConfig:
    """Resolve options and settings; raises QueueNotFound and ImproperlyConfigured."""
    conf = app.conf
    if problems := [*absent.of_tasks(app.tasks.values(), "refused")]:
        raise ImproperlyConfigured("\n".join(problems))
    app.check_structure()
    _ = app.site.builders.router  # reads the routes, which may be wrong
    pool = options.pool or conf.worker_pool
    concurrency = options.concurrency or concurrency_of(conf)
    slots, processes = _shape(pool, concurrency, options.processes)
    if options.autoscale is not None:
        slots, processes = _between(pool, slots, processes, options)
    elif concurrency is None:
        slots = max(1, int(min(slots, smallest(app.engines()).connections)))
    return WorkerConfig(
        url=conf.database_url,
        data_dir=conf.lavoro_data_dir,
        pooled=conf.lavoro_pooled,
        direct_url=conf.lavoro_direct_url,
        schema=conf.lavoro_schema,
        connect_timeout=float(conf.seconds("broker_connection_timeout")),
        retry_at_start=_retry_at_start(conf),
        pool=pool,
        slots=slots,
        processes=processes,
        queues=_queues(conf, options),
        lease=float(conf.seconds("lavoro_lease")),
        grace=float(conf.seconds("lavoro_shutdown_grace") if options.grace is None else options.grace),
        max_crashes=conf.lavoro_max_crashes,
        blocked_warning=1.0,
        blocked_timeout=conf.seconds("lavoro_blocked_timeout"),
        success_expires=conf.seconds("result_expires") or None,
        failure_expires=conf.failures_kept,
        tasks=tuple(sorted(name for name in app.tasks if not name.startswith("celery."))),
        starts_node=bool(app.startup.of("fleet", "worker")),
        stops_node=bool(app.shutdown.of("worker")),
        runs_schedules=conf.lavoro_run_schedules if options.beat is None else options.beat,
        answers_commands=bool(conf.worker_enable_remote_control),
        task_events=options.task_events or bool(conf.worker_send_task_events),
        tick_expires=conf.seconds("lavoro_tick_expires") or None,
        command_expires=conf.seconds("lavoro_command_expires") or None,
        autoscale=options.autoscale,
        modules=tuple(sorted({*conf.include, *(task.__module__ for task in app.tasks.values())})),
    )


def concurrency_of(conf: Any) -> int | None:
    """Return the setting ``worker_concurrency``; "auto", as None and 0, leaves it to the pool and the CPUs."""
    given = conf.worker_concurrency
    return None if given == "auto" else given


def _retry_at_start(conf: Any) -> bool:
    at_start = conf.broker_connection_retry_on_startup
    return bool(conf.broker_connection_retry if at_start is None else at_start)


def _shape(pool: str, concurrency: int | None, processes: int | None) -> tuple[int, int]:
    """Return slots per process and processes: prefork is many processes of one slot each."""
    if pool == "prefork":
        return 1, processes or concurrency or os.cpu_count() or 1
    if pool == "solo":
        return 1, processes or 1
    default = 100 if pool == "gevent" else os.cpu_count() or 1
    return concurrency or default, processes or 1


def _between(pool: str, slots: int, processes: int, options: WorkerOptions) -> tuple[int, int]:
    """Return slots per process and processes to begin with: the least, unless ``-c`` asks for more."""
    assert options.autoscale is not None
    most, least = options.autoscale
    if pool == "solo":
        raise ImproperlyConfigured("--autoscale: a solo pool has one slot; use another pool (-P)")
    first = min(max(options.concurrency or least, least), most)
    return (slots, first) if pool == "prefork" else (first, processes)


def _queues(conf: Any, options: WorkerOptions) -> tuple[str, ...]:
    declared = queue_names(conf.task_queues, conf.task_default_queue)
    wanted = options.queues or declared
    if not conf.task_create_missing_queues:
        _check_declared([*options.queues, *options.exclude_queues], declared)
    served = tuple(dict.fromkeys(checked_name(queue) for queue in wanted if queue not in options.exclude_queues))
    if not served:
        raise ImproperlyConfigured(f"no queue is left to serve: -X excludes {', '.join(wanted)}")
    return served


def _check_declared(named: Sequence[str], declared: Sequence[str]) -> None:
    unknown = [queue for queue in named if queue not in declared]
    if unknown:
        raise QueueNotFound(
            f"there is no queue {unknown[0]!r} in task_queues ({', '.join(declared)}): correct -Q or -X, add it there,"
            " or set task_create_missing_queues to True"
        )


def node_name(pattern: str | None) -> str:
    """Expand Celery's ``%h`` (host), ``%n`` (its first part), ``%d`` (the rest), ``%p`` (process id)."""
    host = socket.gethostname()
    name, _, domain = host.partition(".")
    marks = {"%h": host, "%n": name, "%d": domain, "%p": str(os.getpid()), "%i": "0", "%I": "", "%%": "%"}
    text = re.sub("|".join(marks), lambda found: marks[found[0]], pattern or "worker@%h")
    if plain(text) != text:
        raise ImproperlyConfigured(f"{text!r} cannot name a node (-n): it has characters that no terminal shows")
    return text if "@" in text else f"{text}@{host}"
