"""Finds the queue of a call: by its own options, then ``task_routes``, then the default queue."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from lavoro.calling.options import OPTIONS, QUEUE
from lavoro.config import spelling
from lavoro.config.settings import symbol
from lavoro.exceptions import ImproperlyConfigured, QueueNotFound

MAX_NAME_LENGTH = 200
"""Most characters of a queue's name."""

Rule = Callable[..., Any]
"""Called with (name, args, kwargs, options, task=...): returns a queue, a dict of options, or None for "not mine"."""

# No control characters, which no terminal shows, and no lone surrogates, which cannot be stored.
_NAME = re.compile(f"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{MAX_NAME_LENGTH}}}")


@lru_cache(maxsize=1024)
def checked_name(name: str) -> str:
    """Return the queue's name if it is one: 1 to 200 characters, none a control character. Else raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name[:MAX_NAME_LENGTH]!r} cannot name a queue: "
            f"names have 1 to {MAX_NAME_LENGTH} characters and no control characters"
        )
    return name


def queue_names(task_queues: Any, default: str) -> list[str]:
    """Return the names of the queues in ``task_queues`` in their order; without any, only the default queue.

    ``task_queues`` is a list of names or of objects with a ``name`` (kombu's queues), or a dict with the names as keys.
    Raises ValueError for a wrong name, ImproperlyConfigured for an object that is no queue.

    >>> queue_names({"mail": {}, "video": {}}, "celery")
    ['mail', 'video']
    """
    return list(_declared(task_queues)) or [checked_name(default)]


class Router:
    """Finds the queue and the options of calls, following Celery's rules.

    ``task_routes`` is a dict (task name, glob with ``*``, or compiled pattern -> queue or dict of options), a callable
    (see `Rule`), the dotted path of one of these, or a list of them; the first that knows the task decides. ``queues``
    is the setting ``task_queues``; with ``create_missing=False`` no other queues may be used.

    >>> router = Router({"mail.*": {"queue": "mail", "priority": 5}}, "celery")
    >>> router.route("mail.send", (), {}, {"priority": 9})
    {'priority': 9, 'queue': 'mail'}
    """

    def __init__(
        self,
        task_routes: Any = None,
        default_queue: str = "celery",
        queues: Any = None,
        create_missing: bool = True,
    ) -> None:
        self._default = checked_name(default_queue)
        self._queues = _declared(queues) or {self._default: None}
        self._create_missing = create_missing
        self._given = task_routes or ()
        self._rules = _rules(task_routes)

    def route(
        self,
        name: str,
        args: Sequence[Any] | None = (),
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        task: Any = None,
    ) -> dict[str, Any]:
        """Return the options of a call with the route's added; ``queue`` is always there, as a name.

        Options that the call gives win over the route's, unless they are None. Raises QueueNotFound for a queue that
        may not be used, ValueError for a wrong name.
        """
        given = dict(options) if options else {}
        queue = given.pop("queue", None)
        if queue:
            given["queue"] = self._usable(queue)
        for rule in self._rules:
            found = rule(name, args, kwargs, given, task=task)
            if found is not None:
                given = {
                    **self._expanded(found, name),
                    **{key: value for key, value in given.items() if value is not None},
                }
                break
        if "queue" not in given:
            given["queue"] = self._fallback(given)
        return given

    def unused(self, tasks: Sequence[str]) -> list[str]:
        """Return the names and patterns of ``task_routes`` that route none of these tasks; callables are not asked."""
        given = self._given if isinstance(self._given, (list, tuple)) else [self._given]
        keys = [pair[0] for item in given for pair in _pairs(item) or () if _is_pair(pair)]
        return [str(getattr(key, "pattern", key)) for key in keys if not any(_matches(key, task) for task in tasks)]

    def _expanded(self, found: Any, name: str) -> dict[str, Any]:
        """Return a rule's answer as a dict of options."""
        route = _as_options(found, name)
        queue = route.pop("queue", None)
        return {**route, "queue": self._usable(queue)} if queue else route

    def _usable(self, queue: Any) -> str:
        """Return the name of a queue; one that is given as an object may always be used."""
        if isinstance(queue, str):
            if not self._create_missing and queue not in self._queues:
                raise QueueNotFound(
                    f"there is no queue {queue!r} in task_queues ({', '.join(self._queues)}): add it there, "
                    "or set task_create_missing_queues to True"
                )
            return checked_name(queue)
        return _name_of(queue)

    def _fallback(self, options: Mapping[str, Any]) -> str:
        """Return the queue an exchange and routing key lead to; without both of them, the default queue."""
        exchange, key = options.get("exchange"), options.get("routing_key")
        if not exchange or not key:
            return self._usable(self._default)
        exchange = getattr(exchange, "name", exchange)
        for name, queue in self._queues.items():
            if _binding(name, queue) == (exchange, key):
                return name
        raise QueueNotFound(
            f"no queue in task_queues ({', '.join(self._queues)}) has the exchange {exchange!r} and the routing key "
            f"{key!r}: give the call or its route a queue"
        )


def _declared(task_queues: Any) -> dict[str, Any]:
    """Return the queues by name, each with its options or the object it was given as."""
    if isinstance(task_queues, Mapping):
        return {_name_of(name, queue): queue for name, queue in task_queues.items()}
    if isinstance(task_queues, str):
        raise ImproperlyConfigured(f"task_queues must be a list of queues or a dict, not the text {task_queues!r}")
    return {_name_of(queue): queue for queue in task_queues or ()}


def _name_of(queue: Any, declared: Any = None) -> str:
    """Return a queue's name; ``declared`` is the value of a name in a dict: its options or the object."""
    name = queue if isinstance(queue, str) else getattr(queue, "name", None)
    if not isinstance(name, str):
        raise ImproperlyConfigured(f"{queue!r} is no queue: give a name, or an object with a name")
    options = declared if isinstance(declared, Mapping) else {}
    for option in options:
        spelling.warn_of(f"task_queues of {name!r}: the option", option, QUEUE)
    exchange = _read(queue if declared is None else declared, "exchange")
    if "fanout" in (options.get("exchange_type"), getattr(exchange, "type", None)):
        raise ImproperlyConfigured(f"{name!r} is a broadcast queue: those are not supported, one worker gets each task")
    return checked_name(name)


def _binding(name: str, queue: Any) -> tuple[Any, Any]:
    """Return a queue's exchange and routing key; both default to its name."""
    exchange, key = _read(queue, "exchange"), _read(queue, "routing_key") or _read(queue, "binding_key")
    return getattr(exchange, "name", exchange) or name, key or name


def _read(queue: Any, part: str) -> Any:
    return queue.get(part) if isinstance(queue, Mapping) else getattr(queue, part, None)


def _as_options(found: Any, name: str) -> dict[str, Any]:
    if isinstance(found, str) or hasattr(found, "name"):
        return {"queue": found}
    try:
        return dict(found)
    except (TypeError, ValueError):
        raise ImproperlyConfigured(
            f"task_routes sends {name!r} to {found!r}: that must be a queue's name or a dict of options"
        ) from None


def _rules(task_routes: Any) -> list[Rule]:
    """Return ``task_routes`` as callables, whatever form it was written in."""
    if not task_routes:
        return []
    return [_rule(item) for item in (task_routes if isinstance(task_routes, (list, tuple)) else [task_routes])]


def _rule(item: Any) -> Rule:
    pairs = _pairs(item)
    if pairs is not None and all(map(_is_pair, pairs)):
        return _by_name(pairs)
    if isinstance(item, str):
        return _by_path(item)
    if hasattr(item, "route_for_task"):
        return _by_method(item() if isinstance(item, type) else item)
    if not callable(item):
        raise ImproperlyConfigured(f"task_routes holds {item!r}: that must be a dict, a callable or its dotted path")
    rule: Rule = item
    return rule


def _pairs(item: Any) -> list[Any] | None:
    """Return the (pattern, route) pairs of a dict or list; a single pair stands for a list of it."""
    if isinstance(item, Mapping):
        return list(item.items())
    if isinstance(item, (list, tuple)):
        return [item] if _is_pair(item) else list(item)
    return None


def _is_pair(item: Any) -> bool:
    return isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], (str, re.Pattern))


def _by_name(routes: Iterable[tuple[Any, Any]]) -> Rule:
    """Make a rule of names and patterns: an exact name goes first, then the patterns in their order."""
    exact: dict[str, Any] = {}
    patterns: list[tuple[re.Pattern[str], Any]] = []
    for key, route in routes:
        if isinstance(key, re.Pattern):
            patterns.append((key, route))
        elif "*" in key:
            patterns.append((re.compile(fnmatch.translate(key)), route))
        else:
            exact[key] = route
        for option in _as_options(route, str(key)):
            spelling.warn_of(f"task_routes of {key!r}: the option", option, OPTIONS)

    @lru_cache(maxsize=4096)
    def find(name: str) -> Any:
        if name in exact:
            return exact[name]
        return next((route for pattern, route in patterns if pattern.match(name)), None)

    return lambda name, *_args, **_kwargs: find(name)


def _matches(key: str | re.Pattern[str], task: str) -> bool:
    if isinstance(key, re.Pattern):
        return key.match(task) is not None
    return fnmatch.fnmatchcase(task, key) if "*" in key else key == task


def _by_path(path: str) -> Rule:
    """Make a rule of a dotted path, imported at the first call, because its module may import the tasks."""
    found: list[Rule] = []

    def rule(*args: Any, **kwargs: Any) -> Any:
        if not found:
            found.append(_rule(symbol(path)))
        return found[0](*args, **kwargs)

    return rule


def _by_method(router: Any) -> Rule:
    """Make a rule of a router object in the manner of Celery 3, which has no options."""
    return lambda name, args, kwargs, _options, **_more: router.route_for_task(name, args, kwargs)
