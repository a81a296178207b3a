"""The names of Celery that this release does not support, each with its effect and a sentence of advice.

One table serves settings, options of tasks and calls, attributes of tasks and applications, names of the package and
commands. A name leaves it when this release supports the thing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from lavoro.config.defaults import DEFAULTS
from lavoro.exceptions import NotSupported

Happens = Literal["ignored", "warned", "refused"]
"""ignored: nothing happens. warned: the worker logs it at its start. refused: the start, or the use, raises."""

_EMPTY: tuple[Any, ...] = (None, "", False, 0, (), [], {})
_OFF = (False, None)


class Absent(NamedTuple):
    """The effect of a name, the reason or the advice, and the values that change nothing: first Celery's default."""

    happens: Happens
    sentence: str
    harmless: tuple[Any, ...] = _EMPTY

    def matters(self, value: Any) -> bool:
        """Tell whether this value asks for what this release does not do."""
        return value not in self.harmless


_STORED = "results are stored in PostgreSQL"
_RPC = "results are rows, not messages"
_SERVER = "this is a setting of message brokers, and there is none"
_MESSAGES = "commands and events are rows, not messages"
_CHORD = "a chord's body starts in the transaction that finishes the last member: nothing polls"
_RETRIED = "the worker tries to store a result for as long as it runs"
_CLAIMED = "the worker claims rows when it has room, and adapts by itself to how long tasks take"
_ETA = "tasks with an ETA wait in the database, not in the worker"

_IGNORED: dict[str, dict[str, Any]] = {
    _STORED: {
        "arangodb_backend_settings": None,
        "azureblockblob_base_path": "",
        "azureblockblob_connection_timeout": 20,
        "azureblockblob_container_name": "celery",
        "azureblockblob_read_timeout": 120,
        "azureblockblob_retry_increment_base": 2,
        "azureblockblob_retry_initial_backoff_sec": 2,
        "azureblockblob_retry_max_attempts": 3,
        "cache_backend": None,
        "cache_backend_options": {},
        "cassandra_auth_kwargs": None,
        "cassandra_auth_provider": None,
        "cassandra_bundle_path": None,
        "cassandra_entry_ttl": None,
        "cassandra_keyspace": None,
        "cassandra_options": {},
        "cassandra_port": None,
        "cassandra_read_consistency": None,
        "cassandra_servers": None,
        "cassandra_table": None,
        "cassandra_write_consistency": None,
        "cosmosdbsql_collection_name": "celerycol",
        "cosmosdbsql_consistency_level": "Session",
        "cosmosdbsql_database_name": "celerydb",
        "cosmosdbsql_max_retry_attempts": 9,
        "cosmosdbsql_max_retry_wait_time": 30,
        "couchbase_backend_settings": None,
        "elasticsearch_max_retries": None,
        "elasticsearch_retry_on_timeout": None,
        "elasticsearch_save_meta_as_text": True,
        "elasticsearch_timeout": None,
        "gcs_base_path": "",
        "gcs_bucket": None,
        "gcs_project": None,
        "gcs_ttl": 0,
        "mongodb_backend_settings": None,
        "override_backends": None,
        "redis_backend_credential_provider": None,
        "redis_backend_health_check_interval": None,
        "redis_backend_use_ssl": None,
        "redis_client_name": None,
        "redis_db": None,
        "redis_host": None,
        "redis_max_connections": None,
        "redis_password": None,
        "redis_port": None,
        "redis_retry_on_timeout": False,
        "redis_socket_connect_timeout": None,
        "redis_socket_keepalive": False,
        "redis_socket_timeout": 120.0,
        "redis_username": None,
        "result_backend_thread_safe": False,
        "result_backend_transport_options": {},
        "s3_access_key_id": None,
        "s3_base_path": None,
        "s3_bucket": None,
        "s3_endpoint_url": None,
        "s3_region": None,
        "s3_secret_access_key": None,
    },
    _RPC: {
        "result_exchange": "celeryresults",
        "result_exchange_type": "direct",
        "result_persistent": None,
    },
    _RETRIED: {
        "result_backend_always_retry": False,
        "result_backend_base_sleep_between_retries_ms": 10,
        "result_backend_max_retries": math.inf,
        "result_backend_max_sleep_between_retries_ms": 10000,
    },
    _CHORD: {
        "result_chord_expires": None,
        "result_chord_join_timeout": 3.0,
        "result_chord_retry_interval": 1.0,
    },
    _SERVER: {
        "broker_channel_error_retry": False,
        "broker_login_method": None,
        "broker_native_delayed_delivery_queue_type": "quorum",
        "broker_transport_options": {},
        "task_create_missing_queue_exchange_type": None,
        "task_create_missing_queue_type": "classic",
        "task_default_exchange": None,
        "task_default_queue_type": "classic",
        "task_protocol": 2,
        "worker_detect_quorum_queues": True,
    },
    _MESSAGES: {
        "control_exchange": "celery",
        "control_queue_durable": False,
        "control_queue_exclusive": True,
        "control_queue_expires": 10.0,
        "control_queue_ttl": 300.0,
        "event_exchange": "celeryev",
        "event_queue_durable": False,
        "event_queue_exclusive": True,
        "event_queue_expires": 60.0,
        "event_queue_prefix": "celeryev",
        "event_queue_ttl": 5.0,
        "event_serializer": "json",
    },
    "AsyncResult shows what a task was called with": {"task_repr_maxlevels": 3},
    "each process of a worker is a fresh interpreter": {"worker_pool_start_method": "fork"},
    _CLAIMED: {
        "worker_disable_prefetch": False,
        "worker_enable_prefetch_count_reduction": True,
    },
    _ETA: {
        "worker_eta_task_limit": None,
        "worker_timer_precision": 1.0,
    },
    "the URL says how the connection is secured: sslmode=require and its like": {"broker_use_ssl": False},
    "the URL may name several servers: postgresql://host1,host2/name": {"broker_failover_strategy": None},
    "workers keep their leases alive: lavoro_lease": {"broker_heartbeat": 120, "broker_heartbeat_checkrate": 3.0},
    "the worker reconnects for as long as it runs": {"broker_connection_max_retries": 100},
    "a queue is found by its name": {"task_default_routing_key": None},
    "priorities always work": {"task_queue_max_priority": None},
    "a task is always durable": {"task_default_delivery_mode": 2},
    "PostgreSQL compresses long values by itself": {"result_compression": None, "task_compression": None},
    "results are not kept in memory": {"result_cache_max": -1},
    "tables are made by `lavoro migrate`": {"database_create_tables_at_setup": True},
    "give lavoro a connection or session of your own instead": {
        "database_engine_callback": None,
        "database_short_lived_sessions": False,
    },
    "there are no certificates": {"security_digest": "sha256"},
    "the runs of schedules are in the database": {"beat_schedule_filename": "celerybeat-schedule"},
    "revokes are in the database": {"worker_state_db": None},
    "a task's outcome is accepted once": {"worker_deduplicate_successful_tasks": False},
    "no task travels through a pipe": {"worker_pool_putlocks": True},
    "a lost process is seen at once": {"worker_lost_wait": 10.0},
    "a worker that loses its lease always ends its tasks": {
        "worker_cancel_long_running_tasks_on_connection_loss": False,
    },
    "lavoro_shutdown_grace says how long running tasks may take when the worker stops": {
        "worker_enable_soft_shutdown_on_idle": False,
        "worker_soft_shutdown_timeout": 0.0,
    },
}
"""Settings that are kept and change nothing, by the reason, each with its default in Celery."""

_USE_URL = "name the database in broker_url: postgresql://user:password@host:port/name"
_USE_SCHEMA = "all tables lie in the schema named by lavoro_schema"
UNSIGNED = "there are no certificates: sign with keys that both ends share, lavoro_signing_keys, and leave it out"
_FIXED = "the worker's parts cannot be replaced: leave it out"
_PUT_BACK = "a task that failed or timed out is not put back: leave it out, and use autoretry_for or self.retry()"
_PING = "beat answers no ping: `lavoro status` and `lavoro health` tell of schedules that are late"
_RATES = "this release does not read it: a limit over all workers is limits=[Rate(key, number, per=...)], of the task"
_KOMBU = "there is no message broker: app.database is the way to PostgreSQL, app.publish the way out"
_BACKEND = "there is no result backend: app.AsyncResult(id) reads results"
_COMMAND = "a worker is started by its command: lavoro worker -A module:app"
_TESTING = "this release has no such helper for tests: lavoro.testing has a worker, applications and fixtures"
_HELPERS = "Celery's own helpers are not part of Lavoro: write your own, or use the standard library"

ABSENT: dict[str, Absent] = {
    **{
        name: Absent("ignored", reason, (default,))
        for reason, names in _IGNORED.items()
        for name, default in names.items()
    },
    # Settings that would break a promise if they were ignored
    **dict.fromkeys(
        ("broker_host", "broker_port", "broker_user", "broker_password", "broker_vhost"), Absent("refused", _USE_URL)
    ),
    "broker_transport": Absent("refused", _USE_URL, (*_EMPTY, "postgres", "postgresql", "postgresql+psycopg")),
    **dict.fromkeys(("database_table_names", "database_table_schemas"), Absent("refused", _USE_SCHEMA)),
    **dict.fromkeys(
        ("security_key", "security_key_password", "security_certificate", "security_cert_store"),
        Absent("refused", UNSIGNED),
    ),
    "task_default_exchange_type": Absent(
        "refused", "there are no exchanges: give each task its queue in task_routes", ("direct", *_EMPTY)
    ),
    **dict.fromkeys(("worker_agent", "worker_timer"), Absent("refused", _FIXED)),
    "worker_autoscaler": Absent("refused", _FIXED, ("celery.worker.autoscale:Autoscaler", *_EMPTY)),
    "worker_consumer": Absent("refused", _FIXED, ("celery.worker.consumer:Consumer", *_EMPTY)),
    **dict.fromkeys(
        ("task_acks_on_failure_or_timeout", "task_acks_on_failure", "task_acks_on_timeout"),
        Absent("refused", _PUT_BACK, (True, None)),
    ),
    # Settings of what this release does not do
    "beat_enable_remote_control": Absent("warned", _PING, _OFF),
    "beat_remote_control_max_tick_age": Absent("ignored", _PING),
    "task_retry_on_worker_lost": Absent(
        "warned", "task_acks_late and task_reject_on_worker_lost decide of a task whose worker was lost", _OFF
    ),
    "task_default_rate_limit": Absent("warned", _RATES),
    "task_store_errors_even_if_ignored": Absent("warned", "failures are always kept", (True, None)),
    "task_remote_tracebacks": Absent("warned", "a traceback travels as text: AsyncResult.traceback", _OFF),
    "worker_direct": Absent("warned", "a worker has no queue of its own: name one with -Q", _OFF),
    "worker_pool_restarts": Absent("ignored", "a worker replaces its processes whenever it is told to", (*_OFF, True)),
    "worker_proc_alive_timeout": Absent("ignored", "a new process has as long as its imports take", (4.0,)),
    "result_extended": Absent("ignored", "results always have name, arguments, worker and queue", (False,)),
    "worker_disable_rate_limits": Absent("ignored", _RATES, (False,)),
    # Options of tasks
    "@task.rate_limit": Absent("warned", _RATES),
    **dict.fromkeys(
        ("@task.acks_on_failure_or_timeout", "@task.acks_on_failure", "@task.acks_on_timeout"),
        Absent("refused", _PUT_BACK, (True, None)),
    ),
    "@task.store_errors_even_if_ignored": Absent("warned", "failures are always kept", (True, None)),
    # Attributes of tasks
    **dict.fromkeys(("task.start_strategy", "task.Strategy", "task.Request"), Absent("refused", _FIXED)),
    "task.request_stack": Absent("refused", "requests are in the context: task.push_request and task.pop_request"),
    **dict.fromkeys(
        ("task.Strategy", "task.Request", "task.start_strategy", "task.request_stack"),
        Absent("refused", _FIXED),
    ),
    # Attributes of applications
    **dict.fromkeys(
        (
            "app.amqp", "app.producer_or_acquire", "app.default_producer", "app.producer_pool", "app.pool",
            "connection.Producer", "connection.Consumer", "connection.SimpleQueue", "connection.SimpleBuffer",
            "connection.drain_events", "connection.Pool", "connection.transport",
        ),
        Absent("refused", _KOMBU),
    ),
    **dict.fromkeys(
        ("backend.client", "backend.set", "backend.get", "backend.ResultSession"), Absent("refused", _BACKEND)
    ),
    "app.clock": Absent("refused", "there is no logical clock: rows of the database have times"),
    "app.setup_security": Absent("refused", UNSIGNED),
    "app.select_queues": Absent("refused", "a worker is told its queues with -Q"),
    # Signals that are not sent
    **dict.fromkeys(
        (
            "signals.eventlet_pool_started", "signals.eventlet_pool_preshutdown", "signals.eventlet_pool_postshutdown",
            "signals.eventlet_pool_apply",
        ),
        Absent("warned", "there is no eventlet pool: worker_process_init and worker_process_shutdown are sent"),
    ),
    "signals.task_sent": Absent("warned", "Celery does not send it either: use after_task_publish"),
    "signals.user_preload_options": Absent("warned", "the command line cannot be extended"),
    "signals.worker_before_create_process": Absent(
        "warned", "the process that starts the others does not load the application: use worker_process_init"
    ),
    # Modules of Celery, for the import package `celery`
    "celery.app": Absent("refused", _HELPERS),
    "celery.app.annotations": Absent("refused", "attributes of tasks are changed by the setting task_annotations"),
    "celery.app.backends": Absent("refused", _BACKEND),
    "celery.app.routes": Absent("refused", "queues are chosen by the setting task_routes"),
    "celery.security": Absent("refused", UNSIGNED),
    "celery.app.amqp": Absent("refused", _KOMBU),
    "celery.app.trace": Absent("refused", _FIXED),
    "celery.apps": Absent("refused", _COMMAND),
    "celery.backends": Absent("refused", _BACKEND),
    "celery.beat": Absent("refused", _HELPERS),
    **dict.fromkeys(
        ("celery.beat.BeatPidbox", "celery.beat.NODENAME_DEFAULT", "celery.beat.beat_nodename"),
        Absent("refused", _PING),
    ),
    "celery.bin": Absent("refused", "the command line cannot be extended: write a command of your own"),
    "celery.bootsteps": Absent("refused", _FIXED),
    "celery.concurrency": Absent("refused", "a pool is chosen by the worker's option --pool or setting worker_pool"),
    "celery.contrib": Absent("refused", "this release has no such addition: leave it out"),
    "celery.contrib.testing": Absent("refused", _TESTING),
    "celery.events": Absent("refused", "events are rows, and no messages: app.events has what hears and keeps them"),
    "celery.fixups": Absent(
        "refused", "there are no fixups: call django.setup() in the module that makes the application"
    ),
    "celery.loaders": Absent(
        "refused", "there are no loaders: app.config_from_object and app.import_modules are there"
    ),
    "celery.platforms": Absent("refused", _HELPERS),
    "celery.local": Absent("refused", _HELPERS),
    "celery.maybe_patch_concurrency": Absent("refused", "the worker patches by itself: lavoro worker -P gevent"),
    **dict.fromkeys(("celery.SERIES", "celery.VERSION_BANNER"), Absent("refused", "ask celery.__version__")),
    **dict.fromkeys(
        ("celery.canvas", "celery.exceptions", "celery.result", "celery.schedules"), Absent("refused", _HELPERS)
    ),
    "celery.utils": Absent("refused", _HELPERS),
    "celery.worker": Absent("refused", _FIXED),
    # Commands
    "lavoro flower": Absent("refused", "Flower is not installed: pip install flower, beside lavoro-celery"),
    "lavoro list": Absent("refused", _KOMBU),
    "lavoro amqp": Absent("refused", _KOMBU),
    "lavoro logtool": Absent("refused", "it read logs of Celery: worker --log-format json writes a log for jq"),
    "lavoro graph": Absent("refused", "there is no such command: AsyncResult.graph has the tasks that a task led to"),
}  # fmt: skip


SETTINGS = frozenset(name for name in ABSENT if not {" ", "."} & set(name))
"""The settings in the table."""
UNREAD = {name: row.harmless[0] for name, row in ABSENT.items() if name in SETTINGS and name not in DEFAULTS}
"""Settings of Celery that Lavoro does not read, each with its default in Celery, so that they can be read."""
REFUSED = {
    name: row.sentence
    for name, row in ABSENT.items()
    if name in SETTINGS and row.happens == "refused" and name not in DEFAULTS
}
"""Settings that this release does not know and refuses."""


class MissingAttribute(NotSupported, AttributeError):
    """Raised for an attribute: ``hasattr`` returns False, and ``getattr`` its default."""


class MissingName(NotSupported, ImportError):
    """Raised for a name of the package: ``from lavoro import ...`` would replace the text of an AttributeError."""


class _Missing:
    """A class attribute that Celery's objects have; reading it raises its sentence.

    ``__getattr__`` would do the same, but makes every call a tenth slower.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        missing(self._name, MissingAttribute)


def mark_missing(cls: type, kind: str) -> None:
    """Give a class the attributes of the table that begin with ``kind``."""
    for name in ABSENT:
        owner, _, attribute = name.partition(".")
        if owner == kind:
            if attribute in vars(cls):
                raise TypeError(f"{cls.__name__}.{attribute} is there: delete the row {name!r}")
            setattr(cls, attribute, _Missing(name))


def missing(name: str, error: type[NotSupported] = NotSupported) -> None:
    """Raise the sentence for a name of the table; all other names pass."""
    row = ABSENT.get(name)
    if row is not None and row.happens == "refused":
        raise error(f"{name}: {row.sentence}")


def of_settings(changes: Mapping[str, Any], happens: Happens) -> Iterator[str]:
    """Yield a sentence for each setting with this effect that asks for an unsupported thing."""
    for name, row in ABSENT.items():
        if row.happens == happens and name in changes and row.matters(changes[name]):
            yield f"{name} is not supported: {row.sentence}"


def of_tasks(tasks: Iterable[Any], happens: Happens) -> Iterator[str]:
    """Yield one sentence for each such option of tasks, with the tasks that have it."""
    tasks = sorted(tasks, key=lambda task: task.name)
    for name, row in ABSENT.items():
        kind, _, option = name.partition(".")
        if kind != "@task" or row.happens != happens:
            continue
        found = [task.name for task in tasks if row.matters(task.__own__(option))]
        if found:
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            yield f"{option} of {', '.join(found[:3])}{more} is not supported: {row.sentence}"
