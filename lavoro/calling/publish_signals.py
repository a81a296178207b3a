"""The signals around publishing, which show a call as Celery's protocol names its parts."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from lavoro import signals
from lavoro.calling import redaction
from lavoro.calling.message_builder import MessageBuilder, identified, revised
from lavoro.config.settings import Settings
from lavoro.protocol.durations import later
from lavoro.protocol.ids import uuid7

_OPTIONS = {
    "shadow": "shadow", "group": "group_id", "group_index": "group_index", "root_id": "root_id",
    "parent_id": "parent_id", "ignore_result": "ignore_result", "argsrepr": "argsrepr", "kwargsrepr": "kwargsrepr",
    "correlation_id": "correlation_id", "reply_to": "reply_to",
}  # fmt: skip
"""Headers and properties, and the options that they become where a receiver has changed them."""


_EMBEDDED = {"callbacks": "link", "errbacks": "link_error", "chain": "chain", "chord": "chord"}
"""The parts of the body beside the arguments, and the options that they are."""


class Announcement(NamedTuple):
    """A call as receivers see it; they get the same objects before and after it is sent."""

    name: str
    headers: dict[str, Any]
    properties: dict[str, Any]
    body: tuple[Any, Any, dict[str, Any]]
    queue: str
    policy: dict[str, Any]

    def tell_before(self) -> None:
        """Send ``before_task_publish``."""
        signals.before_task_publish.send(
            self.name, body=self.body, exchange="", routing_key=self.queue, declare=[], headers=self.headers,
            properties=self.properties, retry_policy=self.policy,
        )  # fmt: skip


def announced(
    settings: Settings, task: Any, builder: MessageBuilder, args: Sequence[Any], kwargs: Mapping[str, Any],
    policy: Mapping[str, Any] | None,
) -> tuple[MessageBuilder, Announcement]:  # fmt: skip
    """Send ``before_task_publish``; return the call with the changes of its receivers, and the objects they got."""
    builder = builder if builder.task_id is not None else builder._replace(task_id=str(uuid7()))
    policy = {**settings["task_publish_retry_policy"], **(policy or {})}
    protocol, properties = _protocol_headers(settings, task, builder, args, kwargs), _properties(builder)
    headers = {**protocol, **(builder.extra.get("headers") or {})}
    embed = {name: builder.extra.get(option) for name, option in _EMBEDDED.items()}
    shown = Announcement(builder.name, headers, properties, (args, kwargs, embed), builder.queue, policy)
    if signals.before_task_publish:
        before = {**headers, **properties}
        shown.tell_before()
        extra = {**builder.extra, "headers": {name: value for name, value in headers.items() if name not in protocol}}
        builder = _changed(settings, builder._replace(extra=extra), headers, properties, before)
    return builder, shown


def tell_published(announcements: Iterable[Announcement]) -> None:
    """Send ``after_task_publish`` for calls that are stored."""
    for shown in announcements:
        signals.after_task_publish.send(
            shown.name, headers=shown.headers, body=shown.body, exchange="", routing_key=shown.queue
        )


def _protocol_headers(
    settings: Settings, task: Any, builder: MessageBuilder, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the headers that every message has; others are custom ones."""
    extra = builder.extra
    id = extra.get("task_id") or builder.task_id
    patterns = settings["lavoro_redact"]
    argsrepr, kwargsrepr = redaction.shown(args, kwargs, names=builder.names, patterns=patterns)
    expires = extra.get("expires") or (later(builder.expires_in) if builder.expires_in is not None else None)
    ignore = extra.get("ignore_result")
    return {
        "lang": "py",
        "task": builder.name,
        "id": id,
        "shadow": extra.get("shadow"),
        "eta": extra.get("eta"),
        "expires": expires,
        "group": extra.get("group_id"),
        "group_index": extra.get("group_index"),
        "retries": builder.retries,
        "timelimit": [extra.get(name) or getattr(task, name, None) for name in ("time_limit", "soft_time_limit")],
        "root_id": extra.get("root_id") or id,
        "parent_id": extra.get("parent_id"),
        "argsrepr": extra.get("argsrepr") or argsrepr,
        "kwargsrepr": extra.get("kwargsrepr") or kwargsrepr,
        "origin": origin(),
        "ignore_result": getattr(task, "ignore_result", None) if ignore is None else ignore,
        "replaced_task_nesting": extra.get("replaced_task_nesting") or 0,
        "stamped_headers": extra.get("stamped_headers"),
        "stamps": extra.get("stamps") or {},
    }


def _properties(builder: MessageBuilder) -> dict[str, Any]:
    extra = builder.extra
    priority = {"priority": builder.priority} if builder.priority else {}
    expiration = {"expiration": builder.expires_in} if builder.expires_in is not None else {}
    return {
        "correlation_id": extra.get("correlation_id") or extra.get("task_id") or builder.task_id,
        "reply_to": extra.get("reply_to") or "",
        **priority,
        **expiration,
        **(extra.get("properties") or {}),
    }


def _changed(
    settings: Settings,
    builder: MessageBuilder,
    headers: dict[str, Any],
    properties: dict[str, Any],
    before: dict[str, Any],
) -> MessageBuilder:
    """Return the call with the changes of receivers to its headers and properties."""
    found = {**headers, **properties}
    changes = {name: found.get(name) for name in {**before, **found} if found.get(name) != before.get(name)}
    extra = {**builder.extra, **{_OPTIONS[name]: value for name, value in changes.items() if name in _OPTIONS}}
    known = ("correlation_id", "reply_to", "priority", "expiration")
    extra["properties"] = {name: value for name, value in properties.items() if name not in known}
    if "timelimit" in changes:
        extra["time_limit"], extra["soft_time_limit"] = changes["timelimit"] or (None, None)
    builder = builder._replace(
        name=found["task"], retries=int(found.get("retries") or 0), priority=int(found.get("priority") or 0)
    )
    if changes.get("id") is not None:
        builder = identified(builder, extra, changes["id"])
    return revised(settings, builder, extra, {name: changes[name] for name in ("eta", "expires") if name in changes})


def origin() -> str:
    """Name this process as a sender, the way Celery does."""
    return f"gen{os.getpid()}@{hostname()}"


@lru_cache(maxsize=1)
def hostname() -> str:
    """Name this machine."""
    return socket.gethostname()
