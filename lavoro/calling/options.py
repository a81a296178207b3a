"""The options of tasks and of calls: their names and their allowed values."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lavoro.config import spelling
from lavoro.config.defaults import COUNT, FLAG, MAPPING, PRIORITY, RATE, RETRY_POLICY, SECONDS, TEXT, Rule, as_seconds
from lavoro.exceptions import ImproperlyConfigured
from lavoro.keys import read_limits, read_unique

KEPT = frozenset({
    "time_limit", "soft_time_limit", "ignore_result", "shadow", "root_id", "parent_id", "group_id", "group_index",
    "reply_to", "correlation_id", "headers", "argsrepr", "kwargsrepr", "link", "link_error", "chain", "chord",
    "gathers", "replaced_task_nesting", "stamped_headers", "stamps", "tick",
})  # fmt: skip
"""Options that travel with the task."""
CONSUMED = frozenset({
    "countdown", "eta", "expires", "queue", "priority", "serializer", "retries", "acks_late", "properties", "task_id",
    "awaits", "blockers", "failure_policy", "limits", "serial", "unique",
})  # fmt: skip
"""Options that become columns of the message, or change how it is made."""
IGNORED = frozenset({
    "connection", "producer", "publisher", "router", "retry", "retry_policy", "exchange", "routing_key", "compression",
    "delivery_mode", "mandatory", "immediate", "add_to_parent", "route_name", "task_type",
    "result_cls", "declare", "exchange_type", "expiration", "loglevel", "logfile", "passed",
})  # fmt: skip
"""Options of Celery that have no effect when the message is a row."""
OPTIONS = KEPT | CONSUMED | IGNORED
"""All options of a call that are known."""
LISTS = ("link", "link_error")
"""Options that are one signature or a list of them, and travel as a list."""
RETRY = OPTIONS | {"args", "kwargs", "max_retries"}
"""All options of ``retry`` that are known and that ``retry_kwargs`` may have."""


def _is_exception(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def _are_exceptions(value: Any) -> bool:
    return _is_exception(value) or (isinstance(value, (tuple, list, set, frozenset)) and all(map(_is_exception, value)))


def _is_limit(value: Any) -> bool:
    return COUNT.accepts(value) or (isinstance(value, float) and value >= 0)


def _is_end(value: Any) -> bool:
    return isinstance(value, (dt.datetime, dt.timedelta, str, int, float)) and not isinstance(value, bool)


def _is_queue(value: Any) -> bool:
    return TEXT.accepts(value) or isinstance(getattr(value, "name", None), str)


def _are_retry_options(value: Any) -> bool:
    if not isinstance(value, Mapping) or not {"exc", "throw"}.isdisjoint(value):
        return False
    rules = {**CALLS, "countdown": _TIME}
    return all(rule.accepts(value[name]) for name, rule in rules.items() if value.get(name) is not None)


def _reads(read: Callable[[Any], object], value: Any) -> bool:
    try:
        read(value)
    except (TypeError, ValueError):
        return False
    return True


def _are_hooks(value: Any) -> bool:
    return callable(value) or (isinstance(value, (list, tuple)) and all(map(callable, value)))


def _is_signature(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("task"), str)


def _are_signatures(value: Any) -> bool:
    return _is_signature(value) or (isinstance(value, (list, tuple)) and all(map(_is_signature, value)))


_SIGNATURES = Rule("a signature or a list of them", _are_signatures)
_TIME = Rule("a number of seconds or a timedelta", lambda value: not math.isnan(as_seconds(value)))
_ERRORS = Rule("an exception class, or a tuple or list of them", _are_exceptions)
_LIMIT = Rule("a number, 0 or more; None: without end", _is_limit)
_BACKOFF = Rule(
    "True, False or a number of seconds, 0 or more", lambda value: FLAG.accepts(value) or SECONDS.accepts(value)
)
_QUEUE = Rule("a queue's name", _is_queue)
_HOOKS = Rule("a function, or a list or tuple of functions", _are_hooks)

_LIMITS = Rule("a Limit or a Rate, or a list of them", lambda value: _reads(read_limits, value))
_KEY = Rule("a key: a text, or a function of the arguments", lambda value: TEXT.accepts(value) or callable(value))
_UNIQUE = Rule("True, False, a key or Unique(...)", lambda value: _reads(read_unique, value))

CALLS: dict[str, Rule] = {
    "max_retries": _LIMIT,
    "retries": COUNT,
    "time_limit": SECONDS,
    "soft_time_limit": SECONDS,
    "ignore_result": FLAG,
    "acks_late": FLAG,
    "headers": MAPPING,
    "properties": MAPPING,
    "shadow": TEXT,
    "serializer": TEXT,
    "retry_policy": MAPPING,
    "link": _SIGNATURES,
    "link_error": _SIGNATURES,
    "chain": _SIGNATURES,
    "chord": _SIGNATURES,
    "group_index": COUNT,
    "blockers": Rule("a list of results or ids of tasks", lambda value: isinstance(value, (list, tuple))),
    "limits": _LIMITS,
    "serial": _KEY,
    "unique": _UNIQUE,
    "failure_policy": Rule("'fail', 'wait' or 'run'", lambda value: value in ("fail", "wait", "run")),
}
"""Options of ``apply_async`` and of ``retry``; None always stands for the default. ``message_builder`` reads times."""

TASKS: dict[str, Rule] = {
    "max_retries": _LIMIT,
    "default_retry_delay": SECONDS,
    "autoretry_for": _ERRORS,
    "dont_autoretry_for": _ERRORS,
    "throws": _ERRORS,
    "retry_kwargs": Rule("a dict of options of retry(), without exc and throw", _are_retry_options),
    "retry_backoff": _BACKOFF,
    "retry_backoff_max": SECONDS,
    "retry_jitter": FLAG,
    "queue": _QUEUE,
    "priority": PRIORITY,
    "expires": Rule("a number of seconds, a timedelta or a time", _is_end),
    "time_limit": SECONDS,
    "soft_time_limit": SECONDS,
    "rate_limit": RATE,
    "serializer": TEXT,
    "result_serializer": TEXT,
    "acks_late": FLAG,
    "reject_on_worker_lost": FLAG,
    "acks_on_failure_or_timeout": FLAG,
    "acks_on_failure": FLAG,
    "acks_on_timeout": FLAG,
    "store_eager_result": FLAG,
    "track_started": FLAG,
    "ignore_result": FLAG,
    "store_errors_even_if_ignored": FLAG,
    "typing": FLAG,
    "send_events": FLAG,
    "trail": FLAG,
    "before": _HOOKS,
    "after": _HOOKS,
    "limits": _LIMITS,
    "serial": _KEY,
    "unique": _UNIQUE,
}
"""Attributes of tasks that the decorator takes as options; None stands for the default where there is one."""

NAMES = frozenset({
    *TASKS, "base", "bind", "exchange", "filter", "lazy", "name", "pydantic", "pydantic_context",
    "pydantic_dump_kwargs", "pydantic_strict", "routing_key", "shared", "unique_on",
})  # fmt: skip
"""All options of the decorator that are known; others become attributes of the task, as does celery-singleton's."""

QUEUE = frozenset({
    "alias", "auto_delete", "binding_arguments", "binding_key", "bindings", "consumer_arguments", "delivery_mode",
    "durable", "exchange", "exchange_arguments", "exchange_auto_delete", "exchange_durable", "exchange_type",
    "exclusive", "expires", "max_length", "max_length_bytes", "max_priority", "message_ttl", "name", "no_ack",
    "no_declare", "queue_arguments", "queue_auto_delete", "queue_durable", "routing_key",
})  # fmt: skip
"""All options of a queue in ``task_queues`` that are known; ``exchange`` and the keys are read."""

_POLICY = frozenset(RETRY_POLICY)
_DURATIONS = ("default_retry_delay", "retry_backoff", "retry_backoff_max", "time_limit", "soft_time_limit")


def check_call(option: str, value: Any) -> None:
    """Raise ValueError for a value that an option of a call cannot have."""
    rule = CALLS.get(option)
    if rule is not None and value is not None and not rule.accepts(value):
        raise ValueError(f"{option} must be {rule.text}, not {value!r:.100}")
    if option == "retry_policy" and value is not None:
        for name in value:
            spelling.warn_of("retry_policy: the option", name, _POLICY)


def checked(task: str, option: str, value: Any) -> Any:
    """Return an option of a task in its usual form; raises ImproperlyConfigured for a value that it cannot have."""
    if value is None:
        return None
    rule = TASKS[option]
    if not rule.accepts(value):
        raise ImproperlyConfigured(f"task {task!r}: {option} must be {rule.text}, not {value!r:.100}")
    if option == "retry_kwargs":
        for name in value:
            spelling.warn_of(f"task {task!r}: retry_kwargs: the option", name, RETRY)
    if rule is _ERRORS:
        return (value,) if isinstance(value, type) else tuple(value)
    if rule is _HOOKS:
        return (value,) if callable(value) else tuple(value)
    return value.total_seconds() if option in _DURATIONS and isinstance(value, dt.timedelta) else value


def warn_of_unknown(task: str, options: Iterable[str]) -> None:
    """Warn of options that are probably misspelt; other unknown ones become attributes."""
    for option in options:
        spelling.warn_of(f"task {task!r}: the option", option, NAMES)


def check_limits(hard: float | None, soft: float | None) -> None:
    """Raise ValueError if the soft limit is longer than the hard one."""
    if hard and soft and as_seconds(soft) > as_seconds(hard):
        raise ValueError(
            "soft_time_limit must be less than or equal to time_limit:"
            f" {as_seconds(soft):g} s is more than {as_seconds(hard):g} s"
        )
