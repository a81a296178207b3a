"""The registry of the kinds of signatures: a dict's ``subtask_type`` names the class that it becomes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T", bound=type)

TYPES: dict[str, Any] = {}
"""The class of each kind."""
FIELDS = frozenset({"task", "args", "kwargs", "options", "subtask_type", "immutable", "chord_size"})
"""The keys of a signature. Some releases of Celery write ``chord_size``; nothing reads it."""


_VALUES: dict[str, tuple[Any, str]] = {
    "args": ((list, tuple), "a list"), "kwargs": (Mapping, "a dict"), "options": (Mapping, "a dict"),
}  # fmt: skip
PARTS = {
    "chain": ("tasks",), "group": ("tasks",), "chord": ("header",),
    "xmap": ("task", "it"), "xstarmap": ("task", "it"), "chunks": ("task", "it"),
}  # fmt: skip
"""The keys that the kwargs of each kind need, for signatures or the items of a map."""


def register_type(name: str | None = None) -> Callable[[T], T]:
    """Register a class of signatures under the name, or under its own; a decorator."""

    def register(cls: T) -> T:
        TYPES[name or cls.__name__] = cls
        return cls

    return register


def class_of(form: Mapping[str, Any]) -> Any:
    """Return the class of a signature's dict, None for that of one task; raises ``ValueError`` for another dict."""
    if not isinstance(form.get("task"), str):
        raise ValueError(f"not a signature, because the key 'task' is missing or no name: {dict(form)!r:.200}")
    if unknown := form.keys() - FIELDS:
        raise ValueError(f"the signature of {form['task']} has unknown keys: {', '.join(sorted(map(str, unknown)))}")
    for key, (kinds, words) in _VALUES.items():
        if key in form and not isinstance(form[key], kinds):
            raise ValueError(f"the signature of {form['task']}: {key} must be {words}, not {form[key]!r:.80}")
    kind = form.get("subtask_type")
    if kind and kind not in TYPES:
        raise ValueError(f"the signature of {form['task']} has an unknown subtask_type {kind!r}: {', '.join(TYPES)}")
    for part in PARTS.get(kind, ()) if kind else ():
        value = form.get("kwargs", {}).get(part)
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ValueError(f"the signature of {form['task']}: kwargs must have {part!r}, not {value!r:.80}")
    if kind == "chunks" and not (type(n := form["kwargs"].get("n")) is int and n > 0):
        raise ValueError(
            f"the signature of {form['task']}: kwargs must have 'n', the calls of a message, not {n!r:.80}"
        )
    return TYPES[kind] if kind else None


def shown(signatures: Iterable[Any], separator: str) -> str:
    """Return signatures as text; the module that the first one names is not repeated."""
    first, *others = map(repr, signatures)
    module = first.partition("(")[0].rpartition(".")[0].lstrip("%")
    repeated = re.compile(rf"(?<![\w.-]){re.escape(module)}\." if module else "(?!)")
    return separator.join([first, *(repeated.sub("", other) for other in others)])
