"""Every setting: its default, one line about it, and what it may be."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Rule:
    """The allowed values of a setting, as a text and as a test."""

    text: str
    accepts: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Default:
    """A setting's default, one line about it, and what its values must be; a default of None also allows None."""

    value: Any
    doc: str
    rule: Rule

    def accepts(self, value: Any) -> bool:
        """Tell whether the setting may have this value."""
        return (value is None and self.value is None) or self.rule.accepts(value)


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def as_seconds(value: Any) -> float:
    """Return a duration, a number or a timedelta, in seconds; NaN for any other value."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value if _is_number(value) else math.nan  # NaN: every comparison with it is false


def _is_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(item, str) for item in value)


def _is_zone(value: Any) -> bool:
    if isinstance(value, tzinfo):
        return True
    try:
        return isinstance(value, str) and ZoneInfo(value) is not None
    except (KeyError, ValueError, OSError):  # unknown; no name at all; a directory of the zone database
        return False


def _is_level(value: Any) -> bool:
    # getLevelName also goes from names to numbers; for names it does not know it returns a text.
    return _is_whole(value) or (isinstance(value, str) and _is_whole(logging.getLevelName(value.upper())))


def _is_rate(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"\d+(\.\d+)?(/[smh])?", value) is not None
    return _is_number(value) and value >= 0


def _is_schema(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"(?!pg_)[A-Za-z_][A-Za-z0-9_-]{0,39}", value) is not None


_ROUTE = (str, Mapping, list, tuple)
_COLLECTION = (Mapping, list, tuple, set, frozenset)

POOLS = ("gevent", "threads", "prefork", "solo")

ANY = Rule("anything", lambda _: True)
FLAG = Rule("True or False", lambda value: value in (True, False))
TEXT = Rule("a text that is not empty", lambda value: isinstance(value, str) and value != "")
_KEYS = Rule(
    "a list or tuple of texts of 16 characters or more each",
    lambda value: _is_texts(value) and all(len(key) >= 16 for key in value),
)
_TEXTS = Rule("a list or tuple of names", _is_texts)
_IMPORTS = Rule("a module's name or a list of them", lambda value: isinstance(value, str) or _is_texts(value))
MAPPING = Rule("a dict", lambda value: isinstance(value, Mapping))
COUNT = Rule("a whole number, 0 or more", lambda value: _is_whole(value) and value >= 0)
_COUNT_OR_NONE = Rule("a whole number, 0 or more, or None", lambda value: COUNT.accepts(value or 0))
_SLOTS = Rule("a whole number, 0 or more, or 'auto'", lambda value: value == "auto" or COUNT.accepts(value))
_POSITIVE = Rule("a whole number, 1 or more", lambda value: _is_whole(value) and value >= 1)
_SIZE = Rule("a whole number of bytes, 1 to 1,000,000,000", lambda value: _is_whole(value) and 1 <= value <= 10**9)
SECONDS = Rule("a number of seconds or a timedelta, 0 or more", lambda value: as_seconds(value) >= 0)
_KEPT = Rule("a number of seconds or a timedelta, 0 or more, or None", lambda value: SECONDS.accepts(value or 0))
_DURATION = Rule("a number of seconds or a timedelta, more than 0", lambda value: as_seconds(value) > 0)
PRIORITY = Rule("a whole number, -32768 to 32767", lambda value: _is_whole(value) and -(2**15) <= value < 2**15)
RATE = Rule("a number (per second) or a text such as '10/s', '100/m', '500/h'", _is_rate)
_LEVEL = Rule("a log level such as 'INFO'", _is_level)
_ZONE = Rule("the name of a time zone such as 'Europe/Rome' (the tzdata package has them all), or a tzinfo", _is_zone)
_POOL = Rule(f"one of {', '.join(POOLS)}; gevent does what eventlet did", lambda value: value in POOLS)
SCHEMA = Rule("1 to 40 of A-Z, a-z, 0-9, _ and -, not starting with a digit, - or pg_", _is_schema)
_ROUTES = Rule(
    "a dict, a list, a router or its dotted path", lambda value: callable(value) or isinstance(value, _ROUTE)
)
_QUEUES = Rule("a list of names or queues, or a dict of options by name", lambda value: isinstance(value, _COLLECTION))

_MIDDLEWARE = Rule("a list or tuple of middleware or dotted paths", lambda value: isinstance(value, (list, tuple, str)))

_LOG = "[%(asctime)s: %(levelname)s/%(processName)s] "
_DAY = timedelta(days=1)
_SECRETS = ("*password*", "*passwd*", "*secret*", "*token*", "*api_key*", "*authorization*")
RETRY_POLICY = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 1}

DEFAULTS: dict[str, Default] = {
    # Where tasks are stored
    "broker_url": Default(None, "The database: a postgresql:// URL. None: from the environment, else embedded.", ANY),
    "database_url": Default(None, "The database, if `broker_url` does not name it.", ANY),
    "broker_read_url": Default(None, "Accepted only if equal to `broker_url`.", ANY),
    "broker_write_url": Default(None, "Accepted only if equal to `broker_url`.", ANY),
    "broker_connection_timeout": Default(4, "Seconds to wait for a connection to the database.", _DURATION),
    "broker_connection_retry": Default(True, "False: a worker that starts without a database exits.", FLAG),
    "broker_connection_retry_on_startup": Default(None, "The same; None: as `broker_connection_retry`.", FLAG),
    "broker_pool_limit": Default(10, "Connections kept open for calling tasks; 0 or None: none.", _COUNT_OR_NONE),
    "broker_pool_acquire_timeout": Default(None, "Seconds a call waits for a connection; None: for ever.", SECONDS),
    "database_engine_options": Default({}, "Options for SQLAlchemy's `create_engine`.", MAPPING),
    "lavoro_schema": Default("lavoro", "The PostgreSQL schema that holds all tables.", SCHEMA),
    "lavoro_pooled": Default(False, "True: the URL leads to a pooler in transaction mode, such as PgBouncer.", FLAG),
    "lavoro_direct_url": Default(
        None, "The database past the pooler, to be notified; None: Lavoro polls instead.", ANY
    ),
    "lavoro_data_dir": Default(None, "Folder of the embedded PostgreSQL; None: `./.lavoro`.", ANY),
    "lavoro_engines": Default(
        None, "SQLAlchemy engines that tasks use: one, several, or a function that returns them.", ANY
    ),
    # Calling tasks
    "task_always_eager": Default(False, "Run tasks at once in the calling process; nothing is stored.", FLAG),
    "task_eager_propagates": Default(False, "Exceptions of eager tasks are raised to the caller.", FLAG),
    "lavoro_eager_serialize": Default(
        True, "With `task_always_eager`, tasks get the arguments that a worker would: through the serializer.", FLAG
    ),
    "task_store_eager_result": Default(False, "Store results of eager tasks too.", FLAG),
    "task_serializer": Default("json", "Serializer of arguments.", TEXT),
    "task_publish_retry": Default(True, "Try again when the database cannot be reached while calling a task.", FLAG),
    "task_publish_retry_policy": Default(RETRY_POLICY, "How often and after how many seconds that is.", MAPPING),
    "task_default_priority": Default(None, "Priority of calls without one, None is 0; the higher is first.", PRIORITY),
    "task_inherit_parent_priority": Default(False, "Tasks called by a task take its priority.", FLAG),
    "lavoro_max_argument_size": Default(1_000_000, "Longest serialized arguments of one call, in bytes.", _SIZE),
    "lavoro_batch": Default(1000, "Tasks per insert statement of `delay_many`.", _POSITIVE),
    # Queues
    "task_default_queue": Default("celery", "Queue of calls that nothing else routes.", TEXT),
    "task_queues": Default(None, "Queues the worker serves and routing knows; None: the default queue.", _QUEUES),
    "task_routes": Default(None, "Queue or options by task name, glob or pattern, or a router.", _ROUTES),
    "task_create_missing_queues": Default(True, "False: only queues in `task_queues` may be used.", FLAG),
    # Running tasks
    "task_acks_late": Default(True, "Run again when the worker was lost. False: fail, WorkerLostError.", FLAG),
    "task_reject_on_worker_lost": Default(None, "Worker lost. False: fail; None: as `task_acks_late`.", FLAG),
    "task_acks_on_failure_or_timeout": Default(True, "False: tasks that failed or timed out are put back.", FLAG),
    "task_acks_on_failure": Default(None, "For failures alone; None: `task_acks_on_failure_or_timeout`.", FLAG),
    "task_acks_on_timeout": Default(None, "For time limits alone; None: `task_acks_on_failure_or_timeout`.", FLAG),
    "task_time_limit": Default(None, "Seconds until the process of a task is ended; 0 or None: no limit.", SECONDS),
    "task_soft_time_limit": Default(None, "Seconds until SoftTimeLimitExceeded; 0 or None: no limit.", SECONDS),
    "task_default_rate_limit": Default(None, "Most starts of a task per second, minute or hour, per worker.", RATE),
    "worker_disable_rate_limits": Default(False, "Ignore all rate limits.", FLAG),
    "lavoro_middleware": Default(
        (),
        "Middleware around all tasks, outermost first: objects, or dotted paths of objects and classes.",
        _MIDDLEWARE,
    ),
    "task_annotations": Default(None, "Changes attributes of tasks, by task name or `*`.", ANY),
    "task_track_started": Default(False, "Report the state STARTED while a task runs.", FLAG),
    "task_allow_error_cb_on_chord_header": Default(False, "A chord's `link_error` also holds for its header.", FLAG),
    "lavoro_max_gathered": Default(
        268_435_456, "Bytes of results that the body of a chord may get; with more it fails.", _POSITIVE
    ),
    "lavoro_max_crashes": Default(3, "A task that was running in so many crashes becomes FAILURE.", _POSITIVE),
    "lavoro_unknown_task_delay": Default(1.0, "Seconds until an unknown task is offered again; doubles.", _DURATION),
    "lavoro_unknown_task_delay_max": Default(300.0, "Most seconds `lavoro_unknown_task_delay` grows to.", _DURATION),
    # Results
    "result_backend": Default(
        None, "Results are stored in PostgreSQL, whatever it says; see `lavoro_strict_results`.", ANY
    ),
    "result_serializer": Default("json", "Serializer of results.", TEXT),
    "result_expires": Default(_DAY, "How long results of successful tasks are kept; 0 or None: for ever.", _KEPT),
    "lavoro_strict_results": Default(
        None,
        "True: a result that cannot be stored fails its task, else null is stored; None: if `result_backend` is set.",
        FLAG,
    ),
    "lavoro_failure_expires": Default(30 * _DAY, "How long failed tasks are kept; 0 or None: for ever.", _KEPT),
    "result_failure_expires": Default(
        None, "How long failed tasks are kept, if it is set: instead of `lavoro_failure_expires`.", _KEPT
    ),
    "result_extended": Default(False, "Show name, arguments, worker and queue with results.", FLAG),
    "task_ignore_result": Default(False, "Do not keep results.", FLAG),
    "task_store_errors_even_if_ignored": Default(False, "Keep failures also of tasks that ignore results.", FLAG),
    "lavoro_max_result_size": Default(16_000_000, "Longest serialized result, in bytes.", _SIZE),
    "lavoro_max_error_size": Default(
        100_000, "Most characters kept of an exception's arguments, and of a traceback; the rest is cut.", _SIZE
    ),
    "lavoro_max_progress_size": Default(
        1_000_000, "Longest serialized progress, in characters; a longer one is not stored, with a warning.", _SIZE
    ),
    "accept_content": Default(("json",), "Serializers the worker accepts, by name or MIME type.", _TEXTS),
    "result_accept_content": Default(None, "Serializers accepted for results; None: `accept_content`.", _TEXTS),
    # Security
    "lavoro_signing_keys": Default(
        (), "Messages are signed with the first and verified with all; (): not signed.", _KEYS
    ),
    "lavoro_redact": Default(_SECRETS, "Names of arguments whose values logs and errors show as `***`.", _TEXTS),
    "lavoro_require_signature": Default(False, "True: the worker runs no task without a valid signature.", FLAG),
    # The worker
    "worker_pool": Default("gevent", "How tasks run side by side: gevent, threads, prefork or solo.", _POOL),
    "worker_concurrency": Default(
        None, "Tasks run at once; None: 100 with gevent, else one per CPU; both within `lavoro_engines`.", _SLOTS
    ),
    "worker_max_tasks_per_child": Default(None, "Tasks after which a process is replaced; 0 or None: never.", COUNT),
    "worker_max_memory_per_child": Default(None, "KiB after which a process is replaced; 0 or None: never.", COUNT),
    "worker_proc_alive_timeout": Default(4.0, "Seconds a new process has to come up.", _DURATION),
    "worker_enable_remote_control": Default(True, "False: the worker answers no commands.", FLAG),
    "worker_send_task_events": Default(False, "True: monitors are told of the worker's tasks, as with `-E`.", FLAG),
    "task_send_sent_event": Default(False, "True: a monitor with these settings is told of calls, too.", FLAG),
    "imports": Default((), "Modules the worker imports when it starts.", _IMPORTS),
    "include": Default((), "More modules the worker imports when it starts.", _IMPORTS),
    "lavoro_discover": Default(
        None,
        "Packages that the worker searches for modules such as `tasks`; None: none, with Flask that of the site.",
        _IMPORTS,
    ),
    "lavoro_release": Default(
        None, "The application's release, for start-up functions of the fleet; None: a digest of its modules.", TEXT
    ),
    "lavoro_prefetch": Default(1000, "Most tasks claimed ahead of free slots; fewer if they are long.", COUNT),
    "worker_prefetch_multiplier": Default(
        4, "With 1 nothing is claimed ahead of free slots, otherwise as `lavoro_prefetch` says.", COUNT
    ),
    "lavoro_poll_interval": Default(
        1.0, "Most seconds until an idle worker looks for tasks; 120 times as many while it is notified.", _DURATION
    ),
    "lavoro_lease": Default(30.0, "Seconds without a sign of life until a worker counts as lost.", _DURATION),
    "lavoro_blocked_timeout": Default(
        None, "Seconds until a process whose loop does not turn is ended; None: only limits end it.", _DURATION
    ),
    "lavoro_shutdown_grace": Default(30.0, "Seconds a warm stop gives tasks until they are put back.", SECONDS),
    # Logs
    "worker_hijack_root_logger": Default(True, "False: leave the handlers of the root logger alone.", FLAG),
    "worker_log_format": Default(_LOG + "%(message)s", "Format of the worker's log.", TEXT),
    "worker_log_datefmt": Default(None, "Format of the times in it, as of `time.strftime`.", TEXT),
    "worker_task_log_datefmt": Default(None, "Format of the times in log lines written inside tasks.", TEXT),
    "worker_task_log_format": Default(
        _LOG + "%(task_name)s[%(task_id)s]: %(message)s", "Format of log lines written inside tasks.", TEXT
    ),
    "worker_log_color": Default(None, "Colours in the log; None: if it goes to a terminal.", FLAG),
    "lavoro_max_log_message": Default(
        100_000, "Most characters shown of one log message, and of its traceback; the rest is cut.", _SIZE
    ),
    "worker_redirect_stdouts": Default(True, "Prints of tasks, to standard error too, go to the log.", FLAG),
    "worker_redirect_stdouts_level": Default("WARNING", "Log level of what tasks print.", _LEVEL),
    # Time
    "timezone": Default(None, "Time zone of schedules and of what is shown; None: UTC.", _ZONE),
    "enable_utc": Default(True, "False: times without a zone are local ones.", FLAG),
    "beat_schedule": Default({}, "Periodic tasks: entries (task, schedule, args, kwargs, options) by name.", MAPPING),
    "lavoro_run_schedules": Default(True, "False: workers leave periodic tasks to other workers.", FLAG),
    "lavoro_tick_expires": Default(30 * _DAY, "How long the ticks of schedules are kept; 0 or None: for ever.", _KEPT),
    "lavoro_command_expires": Default(
        90 * _DAY, "How long commands to workers are kept, with their senders; 0 or None: for ever.", _KEPT
    ),
    "beat_scheduler": Default(None, "Class of another scheduler, or its dotted path; None: Lavoro's.", ANY),
    "beat_max_loop_interval": Default(
        0, "Most seconds between two looks for schedules that are due; 0: as the scheduler does by itself.", SECONDS
    ),
    "beat_sync_every": Default(0, "Tasks after which a scheduler class keeps its state; 0: after a time only.", COUNT),
    "beat_cron_starting_deadline": Default(
        None, "Seconds after which a tick of a crontab is skipped; None: as the entry's rule `missed` says.", SECONDS
    ),
}
"""Every setting Lavoro knows. Settings that are not here are kept and can be read, and change nothing."""


def table() -> list[tuple[str, Any, str]]:
    """Return name, default and one line about every setting, in the order of `DEFAULTS`."""
    return [(name, default.value, default.doc) for name, default in DEFAULTS.items()]
