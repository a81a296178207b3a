"""Finds the argument of a call that cannot be encoded, and the advice for the error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lavoro import serialization

_DEEPEST = 5
"""Levels of nested values that are searched for an object of a model."""


def unsendable(
    task: str, serializer: str, names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any], error: Exception
) -> Exception:
    """Return the error to raise for a call that could not be encoded.

    It is a ``ValueError`` if the serializer's is one, else a ``TypeError``. ``names`` are those of the positional
    arguments, as far as they are known.
    """
    kind = ValueError if isinstance(error, ValueError) else TypeError
    for name, value in _named(names, args, kwargs):
        try:
            serialization.encode(value, serializer)
        except (TypeError, ValueError) as reason:
            return kind(f"{task}: the argument {name} cannot be sent: {reason}{_advice(value)}")
    return kind(f"{task}: the arguments cannot be sent: {error}")


def _named(names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for number, value in enumerate(args):
        yield repr(names[number]) if number < len(names) else f"number {number + 1}", value
    for name, value in kwargs.items():
        yield repr(name), value


def _advice(value: Any) -> str:
    model = next(_models(value, _DEEPEST), None)
    return "" if model is None else f"; {model.__name__} is a model of a database: pass its id, and load it in the task"


def _models(value: Any, depth: int) -> Iterator[type]:
    """Yield the classes of SQLAlchemy and of Django that objects in a value have; neither need be installed."""
    cls = _class(value)
    if hasattr(cls, "_sa_class_manager") or (hasattr(cls, "_meta") and hasattr(cls, "pk")):
        yield cls
    if depth and isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _models(item, depth - 1)
    if depth and isinstance(value, Mapping):
        for item in value.values():
            yield from _models(item, depth - 1)


def _class(value: Any) -> type:
    """Return the class that an object has or stands for: ``current_user`` of a framework is a proxy."""
    try:
        return value.__class__  # type: ignore[no-any-return]
    except Exception:  # a proxy of nothing
        return type(value)
