"""The signals around publishing, which show a message in the words of Celery's protocol."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from lavoro import serialization, signals
from lavoro.message import Message


def announced(message: Message, args: Sequence[Any], kwargs: Mapping[str, Any], policy: Mapping[str, Any]) -> Message:
    """Send ``before_task_publish``; return the message with what receivers put into its headers and properties."""
    stored = _options(message)
    headers = protocol_headers(message, stored)
    known = set(headers) - set(stored.get("headers") or {})
    properties = dict(stored.get("properties") or {})
    signals.before_task_publish.send(
        message.name, body=(args, kwargs, {}), exchange="", routing_key=message.queue, headers=headers,
        properties=properties, declare=[], retry_policy=policy,
    )  # fmt: skip
    stored["headers"] = {key: value for key, value in headers.items() if key not in known}
    stored["properties"] = properties
    kept = {key: value for key, value in stored.items() if value not in ({}, None)}
    return message._replace(options=serialization.dumps(kept) if kept else None)


def tell_published(messages: Iterable[Message]) -> None:
    """Send ``after_task_publish`` for messages that are stored."""
    for message in messages:
        body = [*map(serialization.loads, (message.args or "[]", message.kwargs or "{}")), {}]
        headers = protocol_headers(message, _options(message))
        signals.after_task_publish.send(
            message.name, headers=headers, body=body, exchange="", routing_key=message.queue
        )


def protocol_headers(message: Message, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the message's headers, custom ones among them."""
    id = str(options.get("task_id") or message.id)
    return {
        "lang": "py",
        "task": message.name,
        "id": id,
        "root_id": options.get("root_id") or id,
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


def origin() -> str:
    """Name this process as a sender, the way Celery does."""
    return f"gen{os.getpid()}@{hostname()}"


@lru_cache(maxsize=1)
def hostname() -> str:
    """Name this machine."""
    return socket.gethostname()


def _options(message: Message) -> dict[str, Any]:
    return dict(serialization.loads(message.options)) if message.options else {}
