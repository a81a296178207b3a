"""The settings of an app: a mapping with attributes that knows every default and reads configuration late.

Four layers, the first that knows a name answers: what code set on ``conf``, the configuration objects (the later wins),
the app's own defaults, and `DEFAULTS`.
"""

from __future__ import annotations

import logging
import math
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from copy import copy
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from functools import partial, reduce
from importlib import import_module
from inspect import getattr_static
from types import BuiltinFunctionType, ModuleType
from typing import Any
from zoneinfo import ZoneInfo

from lavoro.errors import ImproperlyConfigured

Source = Callable[[], Mapping[str, Any]]
"""Yields settings when it is called, which happens on the first read of any setting."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a setting's value must be, in words and as a test."""

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
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _as_seconds(value: Any) -> float:
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
    return isinstance(value, str) and re.fullmatch(r"(?!pg_)[a-z_][a-z0-9_]{0,47}", value) is not None


_ROUTE = (str, Mapping, list, tuple)
_COLLECTION = (Mapping, list, tuple, set, frozenset)

POOLS = ("gevent", "threads", "prefork", "solo")

_ANY = Rule("anything", lambda _: True)
_FLAG = Rule("True or False", lambda value: value in (True, False))
_TEXT = Rule("a text that is not empty", lambda value: isinstance(value, str) and value != "")
_TEXTS = Rule("a list or tuple of names", _is_texts)
_IMPORTS = Rule("a module's name or a list of them", lambda value: isinstance(value, str) or _is_texts(value))
_MAPPING = Rule("a dict", lambda value: isinstance(value, Mapping))
_COUNT = Rule("a whole number, 0 or more", lambda value: _is_whole(value) and value >= 0)
_COUNT_OR_NONE = Rule("a whole number, 0 or more, or None", lambda value: _COUNT.accepts(value or 0))
_POSITIVE = Rule("a whole number, 1 or more", lambda value: _is_whole(value) and value >= 1)
_SIZE = Rule("a whole number of bytes, 1 to 1,000,000,000", lambda value: _is_whole(value) and 1 <= value <= 10**9)
_SECONDS = Rule("a number of seconds or a timedelta, 0 or more", lambda value: _as_seconds(value) >= 0)
_KEPT = Rule("a number of seconds or a timedelta, 0 or more, or None", lambda value: _SECONDS.accepts(value or 0))
_DURATION = Rule("a number of seconds or a timedelta, more than 0", lambda value: _as_seconds(value) > 0)
_PRIORITY = Rule("a whole number, -32768 to 32767", lambda value: _is_whole(value) and -(2**15) <= value < 2**15)
_RATE = Rule("a number (per second) or a text such as '10/s', '100/m', '500/h'", _is_rate)
_LEVEL = Rule("a log level such as 'INFO'", _is_level)
_ZONE = Rule("the name of a time zone such as 'Europe/Rome' (the tzdata package has them all), or a tzinfo", _is_zone)
_POOL = Rule(f"one of {', '.join(POOLS)}; gevent does what eventlet did", lambda value: value in POOLS)
_SCHEMA = Rule("1 to 48 of a-z, 0-9 and _, not starting with a digit or pg_", _is_schema)
_ROUTES = Rule(
    "a dict, a list, a router or its dotted path", lambda value: callable(value) or isinstance(value, _ROUTE)
)
_QUEUES = Rule("a list of names or queues, or a dict of options by name", lambda value: isinstance(value, _COLLECTION))

_LOG = "[%(asctime)s: %(levelname)s/%(processName)s] "
_DAY = timedelta(days=1)
_RETRY_POLICY = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 1}

DEFAULTS: dict[str, Default] = {
    # Where tasks are stored
    "broker_url": Default(None, "The database: a postgresql:// URL. None: from the environment, else embedded.", _ANY),
    "database_url": Default(None, "The database, if `broker_url` does not name it.", _ANY),
    "broker_read_url": Default(None, "Accepted only if equal to `broker_url`.", _ANY),
    "broker_write_url": Default(None, "Accepted only if equal to `broker_url`.", _ANY),
    "broker_connection_timeout": Default(4, "Seconds to wait for a connection to the database.", _DURATION),
    "broker_connection_retry_on_startup": Default(None, "False: the worker exits if it finds no database.", _FLAG),
    "broker_pool_limit": Default(10, "Connections kept open for calling tasks; 0 or None: none.", _COUNT_OR_NONE),
    "broker_pool_acquire_timeout": Default(None, "Seconds a call waits for a connection; None: for ever.", _SECONDS),
    "database_engine_options": Default({}, "Options for SQLAlchemy's `create_engine`.", _MAPPING),
    "lavoro_schema": Default("lavoro", "The PostgreSQL schema that holds all tables.", _SCHEMA),
    "lavoro_pooled": Default(False, "True: the URL leads to a pooler in transaction mode, such as PgBouncer.", _FLAG),
    "lavoro_direct_url": Default(
        None, "The database past the pooler, to be notified; None: Lavoro polls instead.", _ANY
    ),
    "lavoro_data_folder": Default(None, "Folder of the embedded PostgreSQL; None: `./.lavoro`.", _ANY),
    # Calling tasks
    "task_always_eager": Default(False, "Run tasks at once in the calling process; nothing is stored.", _FLAG),
    "task_eager_propagates": Default(False, "Exceptions of eager tasks are raised to the caller.", _FLAG),
    "task_store_eager_result": Default(False, "Store results of eager tasks too.", _FLAG),
    "task_serializer": Default("json", "Serializer of arguments.", _TEXT),
    "task_publish_retry": Default(True, "Try again when the database cannot be reached while calling a task.", _FLAG),
    "task_publish_retry_policy": Default(_RETRY_POLICY, "How often and after how many seconds that is.", _MAPPING),
    "task_default_priority": Default(None, "Priority of calls without one, None is 0; the higher is first.", _PRIORITY),
    "task_inherit_parent_priority": Default(False, "Tasks called by a task take its priority.", _FLAG),
    "lavoro_max_argument_size": Default(1_000_000, "Longest serialized arguments of one call, in bytes.", _SIZE),
    "lavoro_batch": Default(1000, "Tasks per insert statement of `delay_many`.", _POSITIVE),
    # Queues
    "task_default_queue": Default("celery", "Queue of calls that nothing else routes.", _TEXT),
    "task_queues": Default(None, "Queues the worker serves and routing knows; None: the default queue.", _QUEUES),
    "task_routes": Default(None, "Queue or options by task name, glob or pattern, or a router.", _ROUTES),
    "task_create_missing_queues": Default(True, "False: only queues in `task_queues` may be used.", _FLAG),
    # Running tasks
    "task_acks_late": Default(True, "Run again when the worker was lost. False: fail, WorkerLostError.", _FLAG),
    "task_reject_on_worker_lost": Default(None, "Worker lost. False: fail; None: as `task_acks_late`.", _FLAG),
    "task_acks_on_failure_or_timeout": Default(True, "False: tasks that failed or timed out are put back.", _FLAG),
    "task_acks_on_failure": Default(None, "For failures alone; None: `task_acks_on_failure_or_timeout`.", _FLAG),
    "task_acks_on_timeout": Default(None, "For time limits alone; None: `task_acks_on_failure_or_timeout`.", _FLAG),
    "task_time_limit": Default(None, "Seconds until the process of a task is ended; 0 or None: no limit.", _SECONDS),
    "task_soft_time_limit": Default(None, "Seconds until SoftTimeLimitExceeded; 0 or None: no limit.", _SECONDS),
    "task_default_rate_limit": Default(None, "Most starts of a task per second, minute or hour, per worker.", _RATE),
    "worker_disable_rate_limits": Default(False, "Ignore all rate limits.", _FLAG),
    "task_annotations": Default(None, "Changes attributes of tasks, by task name or `*`.", _ANY),
    "task_track_started": Default(False, "Report the state STARTED while a task runs.", _FLAG),
    "task_allow_error_cb_on_chord_header": Default(False, "A chord's `link_error` also holds for its header.", _FLAG),
    "lavoro_max_crashes": Default(3, "A task that was running in so many crashes becomes FAILURE.", _POSITIVE),
    "lavoro_unknown_task_delay": Default(1.0, "Seconds until an unknown task is offered again; doubles.", _DURATION),
    "lavoro_unknown_task_delay_max": Default(300.0, "Most seconds `lavoro_unknown_task_delay` grows to.", _DURATION),
    # Results
    "result_backend": Default(None, "Results are stored in the database, whatever stands here.", _ANY),
    "result_serializer": Default("json", "Serializer of results.", _TEXT),
    "result_expires": Default(_DAY, "How long results of successful tasks are kept; 0 or None: for ever.", _KEPT),
    "lavoro_failure_expires": Default(30 * _DAY, "How long failed tasks are kept; 0 or None: for ever.", _KEPT),
    "result_extended": Default(False, "Show name, arguments, worker and queue with results.", _FLAG),
    "task_ignore_result": Default(False, "Do not keep results.", _FLAG),
    "task_store_errors_even_if_ignored": Default(False, "Keep failures also of tasks that ignore results.", _FLAG),
    "lavoro_max_result_size": Default(16_000_000, "Longest serialized result, in bytes.", _SIZE),
    "accept_content": Default(("json",), "Serializers the worker accepts, by name or MIME type.", _TEXTS),
    "result_accept_content": Default(None, "Serializers accepted for results; None: `accept_content`.", _TEXTS),
    # The worker
    "worker_pool": Default("gevent", "How tasks run side by side: gevent, threads, prefork or solo.", _POOL),
    "worker_concurrency": Default(None, "Tasks run at once; None: 100 with gevent, else one per CPU.", _COUNT),
    "worker_max_tasks_per_child": Default(None, "Tasks after which a process is replaced; 0 or None: never.", _COUNT),
    "worker_max_memory_per_child": Default(None, "KiB after which a process is replaced; 0 or None: never.", _COUNT),
    "worker_proc_alive_timeout": Default(4.0, "Seconds a new process has to come up.", _DURATION),
    "worker_enable_remote_control": Default(True, "False: the worker answers no commands.", _FLAG),
    "imports": Default((), "Modules the worker imports when it starts.", _IMPORTS),
    "include": Default((), "More modules the worker imports when it starts.", _IMPORTS),
    "lavoro_prefetch": Default(500, "Most tasks claimed ahead of free slots; fewer if they are long.", _COUNT),
    "lavoro_poll_interval": Default(1.0, "Most seconds an idle worker waits before it looks for tasks.", _DURATION),
    "lavoro_lease": Default(30.0, "Seconds without a sign of life until a worker counts as lost.", _DURATION),
    "lavoro_shutdown_grace": Default(30.0, "Seconds a warm stop gives tasks until they are put back.", _SECONDS),
    # Logs
    "worker_hijack_root_logger": Default(True, "False: leave the handlers of the root logger alone.", _FLAG),
    "worker_log_format": Default(_LOG + "%(message)s", "Format of the worker's log.", _TEXT),
    "worker_task_log_format": Default(
        _LOG + "%(task_name)s[%(task_id)s]: %(message)s", "Format of log lines written inside tasks.", _TEXT
    ),
    "worker_log_color": Default(None, "Colours in the log; None: if it goes to a terminal.", _FLAG),
    "worker_redirect_stdouts": Default(True, "What tasks print goes to the log.", _FLAG),
    "worker_redirect_stdouts_level": Default("WARNING", "Log level of what tasks print.", _LEVEL),
    # Time
    "timezone": Default(None, "Time zone of schedules and of what is shown; None: UTC.", _ZONE),
    "enable_utc": Default(True, "False: times without a zone are local ones.", _FLAG),
    "beat_schedule": Default({}, "Periodic tasks: entries (task, schedule, args, kwargs, options) by name.", _MAPPING),
    "beat_scheduler": Default(None, "Class of another scheduler, or its dotted path; None: Lavoro's.", _ANY),
}
"""Every setting Lavoro knows. Settings that are not here are kept and can be read, and change nothing."""

_USE_URL = "name the database in broker_url: postgresql://user:password@host:port/name"
_USE_SCHEMA = "all tables lie in the schema named by lavoro_schema"
_UNSIGNED = "signed messages are not supported: limit who may write to the database, and leave it away"
_FIXED = "the worker's parts cannot be replaced: leave it away"

REFUSED: dict[str, str] = {
    **dict.fromkeys(("broker_host", "broker_port", "broker_user", "broker_password", "broker_vhost"), _USE_URL),
    "broker_transport": _USE_URL,
    **dict.fromkeys(("database_table_names", "database_table_schemas"), _USE_SCHEMA),
    **dict.fromkeys(
        ("security_key", "security_key_password", "security_certificate", "security_cert_store"), _UNSIGNED
    ),
    "task_default_exchange_type": "there are no exchanges: give each task its queue in task_routes",
    **dict.fromkeys(("worker_agent", "worker_autoscaler", "worker_consumer", "worker_timer"), _FIXED),
}
"""Settings of Celery that `Settings.check` reports when they are set, and what to do instead.

Ignoring them would break a promise.
"""

_HARMLESS = {
    "broker_transport": ("postgres", "postgresql", "postgresql+psycopg"),
    "task_default_exchange_type": ("direct",),
    "worker_autoscaler": ("celery.worker.autoscale:Autoscaler",),
    "worker_consumer": ("celery.worker.consumer:Consumer",),
}


def table() -> list[tuple[str, Any, str]]:
    """Return name, default and one line about every setting, in the order of `DEFAULTS`."""
    return [(name, default.value, default.doc) for name, default in DEFAULTS.items()]


def symbol(path: str) -> Any:
    """Import the module or object that a dotted path names: ``pkg.mod``, ``pkg.mod:name.part`` or ``pkg.mod.name``.

    Raises ImportError if there is none; an import error inside an existing module comes through as it is.
    """
    module, colon, names = path.partition(":")
    if not colon:
        module, names = _split(path)
    found = import_module(module)
    try:
        return reduce(getattr, filter(None, names.split(".")), found)
    except AttributeError as error:
        raise ImportError(f"{path!r} cannot be imported: {error}", name=module) from error


def load(source: Any, *, namespace: str | None = None) -> dict[str, Any]:
    """Read the settings of a dict, module, class, object, or the dotted path of one (see `symbol`).

    With the namespace "CELERY" only names such as ``CELERY_TASK_ROUTES`` count, and lose the prefix. Without one, a
    dict is taken as it is, and of other objects what can be a setting: no modules, and functions and classes only for
    settings that take them, so that what a module imports does not become a setting.

    >>> load({"CELERY_TIMEZONE": "UTC", "DEBUG": True}, namespace="CELERY")
    {'timezone': 'UTC'}
    """
    if isinstance(source, str):
        source = symbol(source)
    if isinstance(source, Mapping):
        return _in_namespace(source, source.__getitem__, namespace) if namespace else dict(source)
    if source is None or isinstance(source, (bool, int, float, bytes, list, tuple, set)):
        raise ImproperlyConfigured(f"{source!r} holds no settings: give a dict, a module, a class or a dotted path")
    return _in_namespace(dir(source), partial(getattr, source), namespace) if namespace else _attributes(source)


class Settings(MutableMapping[str, Any]):
    """All settings of an app, as a mapping and as attributes.

    ``defaults`` are the app's own and go before `DEFAULTS`; ``pending`` are configuration objects not read yet;
    ``aliases`` maps other names to those of settings. Names that are no setting are kept, so that a whole Flask
    configuration can be put in. Reading and writing are safe in threads.

    >>> conf = Settings({"timezone": "Europe/Rome"})
    >>> conf.update(task_always_eager=True)
    >>> conf.timezone, conf["task_always_eager"], conf.worker_pool
    ('Europe/Rome', True, 'gevent')
    """

    def __init__(
        self,
        defaults: Mapping[str, Any] | None = None,
        *,
        pending: Iterable[Source] = (),
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self._aliases = dict(aliases or {})
        self._changes: dict[str, Any] = {}
        self._loaded: dict[str, Any] = {}
        self._live: dict[str, Any] = {}
        self._layers = (self._changes, self._loaded, self._live)
        self._defaults: dict[str, Any] = {name: default.value for name, default in DEFAULTS.items()}
        self._merge(self._defaults, defaults or {})
        self._pending: list[tuple[dict[str, Any], Source]] = [(self._loaded, source) for source in pending]
        self._reading = False
        self._warned = False
        # Reentrant, for configuration modules that import the app and read its settings while they are being read.
        self._lock = threading.RLock()

    def add_source(self, source: Source) -> None:
        """Add a configuration object, to be read on the first access to any setting.

        It wins over those added before, and loses to what code set on ``conf`` itself, before or after.
        """
        self._pending.append((self._loaded, source))

    def add_defaults(self, defaults: Mapping[str, Any] | Source) -> None:
        """Add defaults, which lose to all that is configured; a callable is called on the first access."""
        self._pending.append((self._defaults, defaults if callable(defaults) else lambda: defaults))

    def _read(self) -> None:
        with self._lock:
            if self._reading:
                return
            self._reading = True
            try:
                while self._pending:
                    target, source = self._pending[0]
                    self._merge(target, source())
                    # Only now: other threads wait for the lock as long as something is pending, and what failed stays.
                    del self._pending[0]
            finally:
                self._reading = False

    def _merge(self, target: dict[str, Any], values: Mapping[str, Any]) -> None:
        """Take values over; where an alias and the name itself are given, the name itself wins."""
        target.update({self._aliases[name]: value for name, value in values.items() if name in self._aliases})
        target.update({name: value for name, value in values.items() if name not in self._aliases})

    def __getitem__(self, key: str) -> Any:
        if self._pending:
            self._read()
        name = self._aliases.get(key, key)
        for layer in self._layers:
            if name in layer:
                return layer[name]
        value = self._defaults[name]
        if isinstance(value, (dict, list, set)):
            # A copy of one's own, so that conf.beat_schedule["x"] = ... lasts and stays within this app.
            value = self._live.setdefault(name, copy(value))
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self._changes[self._aliases.get(key, key)] = value

    def __delitem__(self, key: str) -> None:
        """Take back what code set, so that the configuration or the default holds again."""
        name = self._aliases.get(key, key)
        found = [layer.pop(name) for layer in (self._changes, self._live) if name in layer]
        if not found and name not in self:
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        self._read()
        return iter({**self._changes, **self._loaded, **self._defaults})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def clear(self) -> None:
        """Take back all that code set; what was configured and the defaults stay."""
        self._changes.clear()
        self._live.clear()

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Set it unless it was set or configured before; a default of Lavoro's does not count as set."""
        if self._aliases.get(key, key) not in self.changes:
            self[key] = default
        return self[key]

    def copy(self) -> dict[str, Any]:
        """Return what code set: after `clear`, ``update`` with it restores that, as ``mock.patch.dict`` does."""
        return {**self._touched(), **self._changes}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # asked for by copy and pickle before __init__ ran
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no setting {name!r}, and nothing was set under that name") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        # pytest's monkeypatch and mock.patch.object look here whether there is a value to restore.
        return self._changes

    def __repr__(self) -> str:
        return f"<Settings: {len(self._changes) + len(self._loaded)} set, {len(self._pending)} to be read>"

    @property
    def changes(self) -> dict[str, Any]:
        """What was set or configured, defaults left out; a copy."""
        self._read()
        return {**self._touched(), **self._loaded, **self._changes}

    def _touched(self) -> dict[str, Any]:
        """Return the defaults that were changed in place."""
        return {name: value for name, value in self._live.items() if value != self._defaults[name]}

    def table(self, *, with_defaults: bool = False, censored: bool = True) -> dict[str, Any]:
        """Return the settings for showing: secrets and passwords in URLs are masked unless ``censored`` is False."""
        shown = dict(self) if with_defaults else self.changes
        return {name: _masked(name, value) for name, value in shown.items()} if censored else shown

    def humanize(self, *, with_defaults: bool = False, censored: bool = True) -> str:
        """Return the settings of `table`, sorted, one line ``name: value`` each."""
        shown = self.table(with_defaults=with_defaults, censored=censored)
        hide = _without_passwords if censored else str
        return "\n".join(hide(f"{name}: {shown[name]!r}").replace("\n", " ") for name in sorted(shown, key=str))

    def seconds(self, name: str) -> float | None:
        """Return the duration a setting says, given as a number or a timedelta, in seconds; None for None."""
        return None if self[name] is None else float(_as_seconds(self[name]))

    @property
    def database_url(self) -> str | None:
        """Where the database is, as ``postgresql://``; None stands for the embedded one.

        In this order: the settings ``broker_url`` and ``database_url``, the environment's ``LAVORO_DATABASE_URL``, and
        its ``DATABASE_URL`` if that is a PostgreSQL URL. A setting that names something else (``redis://``) raises
        ImproperlyConfigured, unless one of the first three names the database: then it is passed over with one warning.
        ``conf["database_url"]`` is the setting alone.
        """
        given = [(name, self[name]) for name in ("broker_url", "database_url") if self[name]]
        foreign = [(name, value) for name, value in given if not _is_postgres(value)]
        url: str | None = next((value for _, value in given if _is_postgres(value)), None) or _url_from_environment()
        if foreign and foreign[0] == given[0]:
            self._pass_over(*foreign[0], url)
        url = url or os.environ.get("DATABASE_URL", "")
        return _POSTGRES.sub("postgresql://", url) if _is_postgres(url) else None

    def _pass_over(self, name: str, value: Any, url: str | None) -> None:
        what = f"{name} names no PostgreSQL database but {_kind(value)}"
        if url is None:
            raise ImproperlyConfigured(
                f"{what}. Set {name} to postgresql://user:password@host:port/name, or LAVORO_DATABASE_URL in the "
                "environment; with neither and without this setting, Lavoro runs a PostgreSQL of its own"
            )
        if not self._warned:
            self._warned = True
            warnings.warn(f"{what}; it is passed over for the PostgreSQL database that was named", stacklevel=3)

    def check(self) -> None:
        """Raise ImproperlyConfigured that lists what cannot work: not supported, of a wrong type or out of range."""
        changes = self.changes
        problems = [*_refused(changes), *_wrong(changes), *_contradictions(self)]
        if problems:
            raise ImproperlyConfigured("\n".join(problems))


_POSTGRES = re.compile(r"^postgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"(://[^\s:/@]*:)\S*@")
_PASSWORD_ASSIGNED = re.compile(r"((?:pass\w*|pwd|secret|token|key)=)(?:'[^']*'|[^&\s'\"]+)", re.IGNORECASE)
_SECRET = re.compile(
    r"pass|secret|token|credential|signature|salt|dsn|api_?key|(?<!routing)(?:^|_)(?:key|pwd|auth)$", re.I
)


def _split(path: str) -> tuple[str, str]:
    """Find the longest part of a dotted path that is a module; the rest names something in it."""
    module, names = path, ""
    while True:
        try:
            import_module(module)
            return module, names
        except ModuleNotFoundError as error:
            if "." not in module or not f"{module}.".startswith(f"{error.name}."):
                raise
        module, _, name = module.rpartition(".")
        names = f"{name}.{names}"


def _in_namespace(names: Iterable[Any], read: Callable[[str], Any], namespace: str) -> dict[str, Any]:
    prefix = namespace.rstrip("_") + "_"
    found = [name for name in names if isinstance(name, str) and name.startswith(prefix)]
    if namespace.isupper():
        found = [name for name in found if name.isupper()]
    return {_unprefixed(name, prefix): read(name) for name in found}


def _unprefixed(name: str, prefix: str) -> str:
    """Strip the namespace; LAVORO_LEASE is lavoro_lease, whose own prefix need not be written twice."""
    short = name[len(prefix) :].lower()
    return name.lower() if short not in DEFAULTS and name.lower() in DEFAULTS else short


def _attributes(source: Any) -> dict[str, Any]:
    # What is code is not even read unless it can be a setting: an object's properties may warn, fail or be slow.
    names = [name for name in dir(source) if not name.startswith("_")]
    known = {name for name in names if name in DEFAULTS or name.isupper()}
    wanted = [name for name in names if name in known or not _is_code(getattr_static(source, name, None))]
    values = {name: getattr(source, name) for name in wanted}
    return {name: value for name, value in values.items() if _takes_code(name) or not _is_code(value)}


def _takes_code(name: str) -> bool:
    return name.isupper() or name in {"task_routes", "task_annotations", "beat_scheduler"}


def _is_code(value: Any) -> bool:
    return isinstance(value, (type, ModuleType, BuiltinFunctionType)) or hasattr(type(value), "__get__")


def _is_postgres(url: Any) -> bool:
    return isinstance(url, str) and _POSTGRES.match(url) is not None


def _url_from_environment() -> str | None:
    url = os.environ.get("LAVORO_DATABASE_URL") or None
    if url is not None and not _is_postgres(url):
        raise ImproperlyConfigured(
            f"LAVORO_DATABASE_URL in the environment must begin with postgresql://, but it is {_kind(url)}"
        )
    return url


def _kind(url: Any) -> str:
    """Say what a URL is without its secrets."""
    if not isinstance(url, str):
        return f"a {type(url).__name__} (several servers are written postgresql://host1,host2/name)"
    scheme, separator, _ = url.partition("://")
    return f"a {scheme}:// URL" if separator else "no URL at all"


def _without_passwords(text: str) -> str:
    return _PASSWORD_ASSIGNED.sub(r"\1**", _PASSWORD_IN_URL.sub(r"\1**@", text))


def _masked(name: Any, value: Any) -> Any:
    if value not in (None, "", True, False) and _SECRET.search(str(name)):
        return "********"
    if isinstance(value, Mapping):
        return {key: _masked(key, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked("", item) for item in value]
    return _without_passwords(value) if isinstance(value, str) else value


def _refused(changes: Mapping[str, Any]) -> Iterator[str]:
    for name, instead in REFUSED.items():
        value = changes.get(name)
        if value and value not in _HARMLESS.get(name, ()):
            yield f"{name} is not supported: {instead}"
    for name in ("task_serializer", "result_serializer"):
        if changes.get(name) == "auth":
            yield f"{name} = 'auth': {_UNSIGNED}"


def _wrong(changes: Mapping[str, Any]) -> Iterator[str]:
    for name, value in changes.items():
        default = DEFAULTS.get(name)
        if default and not default.accepts(value):
            shown = _without_passwords(repr(_masked(name, value)))[:100]
            yield f"{name} must be {default.rule.text}, not {shown}"


def _contradictions(settings: Settings) -> Iterator[str]:
    for low, high in _ORDERED:
        if _as_seconds(settings[low]) > (_as_seconds(settings[high]) or math.inf):
            yield f"{low} ({settings[low]}) must not be longer than {high} ({settings[high]})"
    for name in ("broker_read_url", "broker_write_url"):
        if settings[name] not in (None, settings["broker_url"]):
            yield f"{name} differs from broker_url, but there is one database for both: leave it away"


_ORDERED = (
    ("task_soft_time_limit", "task_time_limit"),
    ("lavoro_unknown_task_delay", "lavoro_unknown_task_delay_max"),
)
