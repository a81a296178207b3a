"""Builds messages: a task's name, its arguments and the options of a call become a ``Message``."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from lavoro import serialization
from lavoro.calling.options import CALLS, CONSUMED, IGNORED, KEPT, LISTS, OPTIONS, check_call, check_limits
from lavoro.calling.places import place_of
from lavoro.calling.routing import checked_name
from lavoro.calling.unsendable import unsendable
from lavoro.config import absent, spelling
from lavoro.config.defaults import as_seconds
from lavoro.config.settings import Settings
from lavoro.execution.context import Context, current
from lavoro.keys import KeyMaker, key_maker
from lavoro.protocol.durations import later, seconds
from lavoro.protocol.ids import task_uuid, uuid7
from lavoro.protocol.message import Message
from lavoro.protocol.place import Place

_message = tuple.__new__
"""The function that ``Message()`` calls in the end; called directly, it takes half of the time."""
_NOWHERE = Place()
_KEYED = frozenset({"limits", "serial", "unique"})

Call = Sequence[Any] | Mapping[str, Any]
"""The arguments of one call of many: the positional ones, or the keywords."""

MAX_NAME_LENGTH = 500
"""Most characters of a task's name."""


class MessageBuilder(NamedTuple):
    """Builds the messages of calls that differ only in their arguments."""

    name: str
    task_id: str | None
    queue: str
    priority: int
    retries: int
    eta: dt.datetime | None
    countdown: float
    expires: dt.datetime | None
    expires_in: float | None
    serializer: str
    extra: dict[str, Any]
    options: str | None
    """``extra`` as JSON."""
    size_limit: int
    names: tuple[str, ...]
    """The names of positional arguments, as far as they are known here."""
    ignored: bool
    """Whether the call, or else its task, ignores the result."""
    place: Place | None
    keys: KeyMaker | None
    """Makes the keys of each call: its limits, and its unique key."""

    def build(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], id: uuid.UUID | None = None, options: str | None = None,
        place: Place | None = None,
    ) -> Message:  # fmt: skip
        """Encode one call; raises ``TypeError`` or ``ValueError`` if it cannot be encoded or is too long.

        A member of a group has an ``id``, ``options`` and a ``place`` of its own.
        """
        text = keywords = payload = None
        if options is None:
            options = self.options
        try:
            if self.serializer == "json":
                text = serialization.dumps(args)
                keywords = serialization.dumps(kwargs) if kwargs else None
            else:
                payload, options = self._payload(args, kwargs)
        except (TypeError, ValueError) as error:
            raise unsendable(self.name, self.serializer, self.names, args, kwargs, error) from error
        size = _bytes(text) + _bytes(keywords) + _bytes(options) + len(payload or b"")
        if size > self.size_limit:
            raise self._too_long(size)
        if id is None:
            id = uuid7() if self.task_id is None else task_uuid(self.task_id)
        if self.place is not None:
            place = self._place(id)
        if self.keys is not None:
            place = (place or _NOWHERE)._replace(keys=self.keys.make(args, kwargs))
        return _message(Message, (
            id, self.name, self.queue, self.priority, self.retries, self.eta, self.countdown, self.expires,
            self.expires_in, text, keywords, options, payload, place,
        ))  # fmt: skip

    def _place(self, id: uuid.UUID) -> Place | None:
        """Return the place of a call of this id: with blockers it waits for a barrier of its own."""
        assert self.place is not None
        return self.place._replace(held_for=id) if self.place.blockers else self.place

    def _payload(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[bytes, str | None]:
        encoded = serialization.encode((list(args), dict(kwargs)), self.serializer)
        payload = encoded.data if isinstance(encoded.data, bytes) else encoded.data.encode()
        return payload, _packed({**self.extra, "content_type": encoded.content_type})

    def _too_long(self, size: int) -> ValueError:
        return ValueError(
            f"the arguments of {self.name} have {size:,} bytes, more than {self.size_limit:,} (setting"
            " lavoro_max_argument_size): store the data elsewhere and pass its address"
        )


def message_builder(
    settings: Settings, task: Any, name: str, options: Mapping[str, Any], request: Context | None = None
) -> MessageBuilder:
    """Read the options of a call, of which ``queue`` must be one; return the builder of its message.

    ``task`` is the task object if it is known here, for its defaults; ``request`` that of the task that calls. Raises
    ``TypeError`` or ``ValueError`` for wrong options.
    """
    extra = _travelling(options, request)
    check_limits(*(extra.get(limit) or getattr(task, limit, None) for limit in ("time_limit", "soft_time_limit")))
    if task is not None and (not task.acks_late or task.reject_on_worker_lost is False):
        extra["acks_late"] = False
    task_id = options.get("task_id") or None
    if task_id is not None and str(task_uuid(task_id)) != (task_id := str(task_id)):
        extra["task_id"] = task_id
    eta, countdown = _start(options, settings)
    extra.update(_told_times(options))
    return MessageBuilder(
        _checked_name(name),
        task_id,
        options["queue"],
        _whole("priority", _priority(options, settings, request), 2**15),
        _whole("retries", options.get("retries"), 2**31),
        eta,
        countdown,
        *_end(options.get("expires"), settings),
        options.get("serializer") or getattr(task, "serializer", None) or settings["task_serializer"],
        extra,
        _options_of(name, extra),
        settings["lavoro_max_argument_size"] * (1 + len(extra.get("chain", ()))),
        arguments.names if (arguments := getattr(task, "__arguments__", None)) is not None else (),
        bool(getattr(task, "ignore_result", False) if (ignore := extra.get("ignore_result")) is None else ignore),
        place_of(extra, options),
        _keys(name, arguments, options) if not _KEYED.isdisjoint(options) else None,
    )


def _keys(name: str, arguments: Any, options: Mapping[str, Any]) -> KeyMaker | None:
    names, defaults = ((), {}) if arguments is None else (arguments.names, arguments.defaults)
    return key_maker(name, options["queue"], names, defaults, options)


def extended(builder: MessageBuilder, id: str, options: str | None, calls: int) -> MessageBuilder:
    """Return the builder of one call under this id, with these options, which only travel and hold so many calls."""
    return builder._replace(task_id=id, options=options, size_limit=builder.size_limit * (1 + calls))


def identified(builder: MessageBuilder, extra: dict[str, Any], id: object) -> MessageBuilder:
    """Return the builder of a call under another id, which ``extra`` gets too where it is no UUID."""
    text = str(id)
    extra["task_id"] = None if str(task_uuid(text)) == text else text
    return builder._replace(task_id=text)


def revised(
    settings: Settings, builder: MessageBuilder, extra: dict[str, Any], times: Mapping[str, Any]
) -> MessageBuilder:
    """Return the builder of a call with other extra options, and with the ``eta`` or ``expires`` that ``times`` has.

    Raises ``TypeError`` or ``ValueError`` for wrong options.
    """
    if "eta" in times:
        eta, countdown = _start(times, settings)
        builder = builder._replace(eta=eta, countdown=countdown)
    if "expires" in times:
        expires, expires_in = _end(times["expires"], settings)
        builder = builder._replace(expires=expires, expires_in=expires_in)
    extra.update({**dict.fromkeys(times), **_told_times(times)})
    check_limits(extra.get("time_limit"), extra.get("soft_time_limit"))
    return builder._replace(
        name=_checked_name(builder.name), priority=_whole("priority", builder.priority, 2**15),
        retries=_whole("retries", builder.retries, 2**31), extra=extra, options=_packed(extra),
    )  # fmt: skip


def calling_task() -> Context | None:
    """Return the request of the task that a worker or eager mode runs here; direct calls in it do not count."""
    request = current.get()
    while request is not None and request.called_directly:
        request = request.outer
    return request


def retry_under_way(request: Context, options: Mapping[str, Any]) -> list[Message] | None:
    """Return the list for the message of a call that ``retry`` makes for the running task; None for other calls."""
    resent: list[Message] | None = vars(request).get("resent")
    return resent if resent is not None and options.get("task_id") == request.id else None


def retry_changes(
    task: Any, request: Context, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None, options: dict[str, Any]
) -> dict[str, Any]:
    """Encode the overrides of the next try of a task."""
    serializer = options.get("serializer") or serialization.serializer_of(request.options.get("content_type"))
    queue = options.get("queue")
    options = {**options, "serializer": serializer, "queue": queue or request.queue}
    builder = message_builder(task.app.conf, task, task.name, options)
    if options.get("expires") is not None:
        builder.extra.setdefault("expires", None)
    if "headers" in vars(request):  # it may have changed them
        builder.extra.setdefault("headers", request.headers)
    changes: dict[str, Any] = {
        "queue": checked_name(queue) if isinstance(queue, str) else queue,
        "priority": None if options.get("priority") is None else builder.priority,
        "expires": builder.expires,
        "expires_in": builder.expires_in,
        "options": builder.extra,
    }
    if request.is_eager:
        changes["call"] = (request.args if args is None else args), (request.kwargs if kwargs is None else kwargs)
    elif args is not None or kwargs is not None:
        for option in ("argsrepr", "kwargsrepr", "gathers"):  # gathered results are among the arguments by now
            builder.extra.setdefault(option, None)
        again = builder.build(request.args if args is None else args, request.kwargs if kwargs is None else kwargs)
        changes.update(args=again.args, kwargs=again.kwargs or "{}", payload=again.payload)
    return changes


def start_time(eta: dt.datetime | str, settings: Settings) -> dt.datetime:
    """Return an ETA as an aware datetime: naive ones are UTC, or local ones with the setting ``enable_utc`` off."""
    if isinstance(eta, str):
        eta = dt.datetime.fromisoformat(f"{eta[:-1]}+00:00" if eta.endswith(("Z", "z")) else eta)
    if not isinstance(eta, dt.datetime):
        raise TypeError(f"a time must be a datetime or its ISO text, not {type(eta).__name__}")
    if eta.tzinfo is not None:
        return eta
    return eta.replace(tzinfo=dt.timezone.utc) if settings["enable_utc"] else _local(eta, settings["timezone"])


def _travelling(options: Mapping[str, Any], request: Context | None) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    stamps = _stamps(options) if "stamped_headers" in options else {}
    for key, value in options.items():
        if value is None or key in stamps:
            continue
        if key in CALLS:
            check_call(key, value)
        if key in CONSUMED or key in IGNORED:
            continue
        if key in KEPT:
            if key in _FORMS and (value := _FORMS[key](value)) == []:
                continue
            extra[key] = value
        else:
            if value:
                absent.missing(f"apply_async.{key}")
            spelling.warn_of("apply_async: the option", key, OPTIONS)
            unknown[key] = value
    if stamps:
        extra.update(stamped_headers=list(stamps), stamps=stamps)
    if unknown or options.get("properties"):
        extra["properties"] = {**(options.get("properties") or {}), **unknown}
    if request is not None:
        extra.setdefault("parent_id", request.id)
        extra.setdefault("root_id", request.root_id or request.id)
    return extra


def _stamps(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stamps of a call by name: options of the names in ``stamped_headers``, or those of a former try."""
    former = options.get("stamps") or {}
    return {name: options.get(name, former.get(name)) for name in options["stamped_headers"] or ()}


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, Mapping) else list(value)


_FORMS = {"time_limit": as_seconds, "soft_time_limit": as_seconds, **dict.fromkeys((*LISTS, "chain"), _listed)}
"""Options that travel in another form than they may be given in."""


def _priority(options: Mapping[str, Any], settings: Settings, request: Context | None) -> Any:
    """The call's or the route's, the caller's if it is to be inherited, or the default."""
    priority = options.get("priority")
    if priority is None and request is not None and settings["task_inherit_parent_priority"]:
        priority = request.priority
    return settings["task_default_priority"] if priority is None else priority


def _start(options: Mapping[str, Any], settings: Settings) -> tuple[dt.datetime | None, float]:
    """When to start, as a time or in so many seconds; of both, the countdown counts."""
    eta, countdown = options.get("eta"), options.get("countdown")
    if countdown:
        return None, seconds("countdown", countdown)
    return (None, 0.0) if eta is None else (start_time(eta, settings), 0.0)


def _told_times(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the times of a call for its request: a countdown counts from now, as in Celery."""
    told = {"eta": later(countdown)} if (countdown := options.get("countdown")) else {}
    for option in ("eta", "expires"):
        value = options.get(option)
        if isinstance(value, (dt.datetime, str)) and option not in told:
            told[option] = value if isinstance(value, str) else value.isoformat()
    return told


def _end(expires: Any, settings: Settings) -> tuple[dt.datetime | None, float | None]:
    """Until when to start at the latest, in the same two forms."""
    if expires is None:
        return None, None
    if isinstance(expires, (dt.datetime, str)):
        return start_time(expires, settings), None
    return None, seconds("expires", expires)


def _local(moment: dt.datetime, zone: Any) -> dt.datetime:
    if zone is None:
        return moment.astimezone()
    return moment.replace(tzinfo=zone if isinstance(zone, dt.tzinfo) else ZoneInfo(zone))


def _whole(option: str, number: Any, limit: int) -> int:
    value = int(number or 0)
    if not -limit <= value < limit:
        raise ValueError(f"{option} must be between {-limit} and {limit - 1}, not {value}")
    return value


@lru_cache(maxsize=1024)
def _checked_name(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a task's name must be a text, not {type(name).__name__}")
    if not 1 <= len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        shown = f"{name[:100]!r} cannot name a task"
        raise ValueError(f"{shown}: names have 1 to {MAX_NAME_LENGTH} characters, all of them printable")
    return name


def _bytes(text: str | None) -> int:
    if text is None:
        return 0
    return len(text) if text.isascii() else len(text.encode())


def _packed(extra: Mapping[str, Any]) -> str | None:
    kept = {key: value for key, value in extra.items() if value is not None and value != {}}
    return serialization.dumps(kept) if kept else None


def _options_of(name: str, extra: Mapping[str, Any]) -> str | None:
    try:
        return _packed(extra)
    except (TypeError, ValueError) as error:
        found = ", ".join(option for option in (*LISTS, "chain", "headers", "stamps") if option in extra)
        raise type(error)(f"{name}: the options {found} cannot be sent, which travel as JSON: {error}") from error


def split_call(call: Call) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Return the positional arguments and the keywords of one of many calls; raises ``TypeError``."""
    if isinstance(call, (tuple, list)):
        return call, {}
    if isinstance(call, Mapping):
        return (), call
    raise TypeError(f"each call must be a tuple of arguments or a mapping of keywords, not {type(call).__name__}")
