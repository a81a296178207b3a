"""Settings as a command line and the environment say them: ``worker.concurrency=4``, always as text."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lavoro.config.absent import UNREAD
from lavoro.config.defaults import DEFAULTS

_CAST = re.compile(r"\((\w+)\)")
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False, "none": None, "null": None}
_CASTS: dict[str, Callable[[str], Any]] = {
    "string": str, "int": int, "float": float, "any": str, "json": json.loads, "list": json.loads, "dict": json.loads,
    "tuple": lambda text: tuple(json.loads(text)), "bool": lambda text: _WORDS.get(text.lower(), text not in ("", "0")),
}  # fmt: skip


def settings_of(arguments: Iterable[str], namespace: str = "celery") -> dict[str, Any]:
    """Read ``worker.concurrency=4``, or ``.concurrency=4`` for the namespace, into settings.

    ``(json)``, ``(int)`` and the like before the value say what it is; otherwise the setting does. Raises ValueError.

    >>> settings_of([".concurrency=4", "task.time_limit=(float)2"], "worker")
    {'worker_concurrency': 4, 'task_time_limit': 2.0}
    """
    return dict(_read(argument, namespace) for argument in arguments)


def _read(argument: str, namespace: str) -> tuple[str, Any]:
    name, equals, text = argument.partition("=")
    name = name.lower().replace(".", "_")
    name = f"{namespace}{name}" if name.startswith("_") else name
    if not equals or not name:
        raise ValueError(f"{argument!r} is no setting: write name=value, for example worker.concurrency=4")
    if name not in DEFAULTS and name not in UNREAD:
        raise ValueError(f"there is no setting {name!r} ({argument})")
    cast = _CAST.match(text)
    if cast is None:
        return name, value_of(name, text)
    if cast[1] not in _CASTS:
        raise ValueError(f"({cast[1]}) in {argument!r} is none of {', '.join(_CASTS)}")
    try:
        return name, _CASTS[cast[1]](text[cast.end() :])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def value_of(name: str, text: str) -> Any:
    """Return the value that a text means for this setting; raises ValueError if it can mean none."""
    default = DEFAULTS.get(name)
    if default is None:
        return next(_meanings(text))
    for value in _meanings(text):
        if default.accepts(value):
            return value
    raise ValueError(f"{name} must be {default.rule.text}, not {text!r}")


def _meanings(text: str) -> Iterator[Any]:
    if text.lower() in _WORDS:
        yield _WORDS[text.lower()]
    with contextlib.suppress(ValueError):
        yield json.loads(text)
    yield text
    yield tuple(part.strip() for part in text.split(","))
