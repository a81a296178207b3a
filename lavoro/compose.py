"""Calling: a task's name, arguments and options become a ``Message``."""

from __future__ import annotations

import datetime as dt
import os
import socket
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from lavoro import serialization
from lavoro.context import Context, current
from lavoro.ids import task_uuid, uuid7
from lavoro.message import Message, pack_options
from lavoro.settings import Settings

KEPT = frozenset({
    "time_limit", "soft_time_limit", "ignore_result", "shadow", "root_id", "parent_id", "group_id", "group_index",
    "reply_to", "correlation_id", "headers",
})  # fmt: skip
"""Options that travel with the task."""
CONSUMED = frozenset({
    "countdown", "eta", "expires", "queue", "priority", "serializer", "retries", "acks_late", "properties", "task_id",
})  # fmt: skip
"""Options that become columns of the message, or decide how it is made."""
IGNORED = frozenset({
    "connection", "producer", "publisher", "router", "retry", "retry_policy", "exchange", "routing_key", "compression",
    "delivery_mode", "mandatory", "immediate", "add_to_parent", "argsrepr", "kwargsrepr", "route_name", "task_type",
    "result_cls", "declare", "exchange_type",
})  # fmt: skip
"""Options of Celery that mean nothing once the message is a row."""
REFUSED = frozenset({"link", "link_error", "chord", "chain"})


def compose(
    settings: Settings, task: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> Message:
    """Encode a call.

    ``task`` is the task object if it is known here, for its defaults. Raises ``TypeError`` or ``ValueError`` for what
    cannot be encoded or is longer than the setting ``lavoro_max_argument_size``.
    """
    request = current.get()
    extra = _travelling(options, request) if options or request is not None else {}
    priority = _first(options.get("priority"), getattr(task, "priority", None), settings.task_default_priority)
    if priority is None and settings.task_inherit_parent_priority and request is not None:
        priority = request.priority
    if task is not None and not task.acks_late:
        extra["acks_late"] = False
    serializer = options.get("serializer") or getattr(task, "serializer", None) or settings.task_serializer
    text, keywords, payload = encode_call(settings, name, args, kwargs, serializer=serializer, extra=extra)
    eta, countdown = _when(options)
    expires, expires_in = _until(options.get("expires", getattr(task, "expires", None)))
    given_id = options.get("task_id")
    id = uuid7() if given_id is None else task_uuid(given_id)
    if given_id is not None and str(id) != str(given_id):
        extra["task_id"] = str(given_id)
    return Message(
        id,
        name,
        options["queue"],
        _small(priority),
        int(options.get("retries") or 0),
        eta,
        countdown,
        expires,
        expires_in,
        text,
        keywords,
        pack_options(extra) if extra else None,
        payload,
    )


def encode_call(
    settings: Settings, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], *, serializer: str, extra: dict[str, Any]
) -> tuple[str | None, str | None, bytes | None]:
    """Encode arguments: JSON texts of both, or one payload in another serializer, named in ``extra``."""
    if serializer == "json":
        text = serialization.dumps(args)
        keywords = serialization.dumps(kwargs) if kwargs else None
        _check_size(settings, name, len(text) + (len(keywords) if keywords else 0))
        return text, keywords, None
    encoded = serialization.encode((list(args), dict(kwargs)), serializer)
    payload = encoded.data if isinstance(encoded.data, bytes) else encoded.data.encode()
    _check_size(settings, name, len(payload))
    extra["content_type"] = encoded.content_type
    return None, None, payload


def _check_size(settings: Settings, name: str, size: int) -> None:
    limit = settings.lavoro_max_argument_size
    if size > limit:
        raise ValueError(
            f"the arguments of {name} have {size:,} bytes, more than {limit:,} (setting lavoro_max_argument_size):"
            " store the data elsewhere and pass where it is"
        )


def _travelling(options: Mapping[str, Any], request: Context | None) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    unknown: dict[str, Any] = dict(options.get("properties") or {})
    for key, value in options.items():
        if key in KEPT:
            extra[key] = value
        elif key in REFUSED and value:
            raise NotImplementedError(f"apply_async({key}=...) is not supported by this release")
        elif key not in CONSUMED and key not in IGNORED and key not in REFUSED:
            unknown[key] = value
    if unknown:
        extra["properties"] = unknown
    if request is not None and request.id is not None:
        extra.setdefault("parent_id", request.id)
        extra.setdefault("root_id", request.root_id)
    _check_limits(extra.get("time_limit"), extra.get("soft_time_limit"))
    return extra


def _check_limits(hard: float | None, soft: float | None) -> None:
    if hard and soft and soft > hard:
        raise ValueError(f"soft_time_limit ({soft:g} s) must not be longer than time_limit ({hard:g} s)")


def _when(options: Mapping[str, Any]) -> tuple[dt.datetime | None, float]:
    eta, countdown = options.get("eta"), options.get("countdown")
    if eta is None:
        return None, float(countdown or 0)
    if isinstance(eta, str):
        eta = dt.datetime.fromisoformat(eta)
    return _aware(eta), 0.0


def _until(expires: Any) -> tuple[dt.datetime | None, float | None]:
    if expires is None:
        return None, None
    if isinstance(expires, dt.timedelta):
        return None, expires.total_seconds()
    if isinstance(expires, str):
        expires = dt.datetime.fromisoformat(expires)
    return (_aware(expires), None) if isinstance(expires, dt.datetime) else (None, float(expires))


def _aware(moment: dt.datetime) -> dt.datetime:
    """Naive times are UTC, as in Celery."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.timezone.utc)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _small(priority: Any) -> int:
    value = int(priority or 0)
    if not -32768 <= value <= 32767:
        raise ValueError(f"priority must be between -32768 and 32767, not {value}")
    return value


@lru_cache(maxsize=1)
def origin() -> str:
    """Name this process as a sender, the way Celery does."""
    return f"gen{os.getpid()}@{socket.gethostname()}"


def protocol_headers(message: Message, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the message's headers as Celery's publish signals show them, custom headers among them."""
    return {
        "lang": "py",
        "task": message.name,
        "id": str(options.get("task_id") or message.id),
        "root_id": options.get("root_id") or str(message.id),
        "parent_id": options.get("parent_id"),
        "retries": message.retries,
        "eta": message.eta.isoformat() if message.eta else None,
        "expires": message.expires.isoformat() if message.expires else None,
        "timelimit": [options.get("time_limit"), options.get("soft_time_limit")],
        "shadow": options.get("shadow"),
        "ignore_result": options.get("ignore_result"),
        "origin": origin(),
        **(options.get("headers") or {}),
    }
