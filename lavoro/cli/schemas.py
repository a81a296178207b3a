"""The option ``--json``, and the JSON Schema of what a verb prints with it, made of the type of the verb's result."""

from __future__ import annotations

import datetime as dt
import os
import types
import typing
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import click

_SIMPLE: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    dt.datetime: {"type": "string", "format": "date-time"},
    uuid.UUID: {"type": "string", "format": "uuid"},
    Any: {},
    object: {},
    list: {"type": "array"},
    dict: {"type": "object"},
}


class JsonOption(click.Option):
    """The option ``--json``, which knows the type of the result."""

    def __init__(self, *names: Any, result: Any, **options: Any) -> None:
        super().__init__(*names, **options)
        self.result = result

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Return the value of ``LAVORO_STATUS_JSON`` and its like."""
        prefix = ctx.auto_envvar_prefix
        return os.environ.get(f"{prefix}_JSON") if prefix else None

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the verb's result."""
        return self.result if isinstance(self.result, dict) else schema_of(self.result)


def json_option(result: Any) -> Callable[[Any], Any]:
    """Give a verb ``-j``/``--json``; ``result`` is the type of what it prints, or its schema."""
    return click.option(
        "-j", "--json", "as_json", cls=JsonOption, result=result, is_flag=True, help="As JSON, for programs."
    )


def schema_of(kind: Any) -> dict[str, Any]:
    """Return the JSON Schema of a type: simple ones, lists, dicts, unions, literals, named tuples, typed dicts.

    >>> schema_of(list[int | None])
    {'type': 'array', 'items': {'anyOf': [{'type': 'integer'}, {'type': 'null'}]}}
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [schema_of(argument) for argument in arguments]}
    if origin in (list, Sequence) or (origin is tuple and arguments[-1] is ...):
        return {"type": "array", "items": schema_of(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    if isinstance(kind, type) and kind not in _SIMPLE:
        return fields(**typing.get_type_hints(kind))
    return _SIMPLE[kind]


def fields(base: Any = None, /, **more: Any) -> dict[str, Any]:
    """Return the schema of an object with these fields, each with its type, after those of a named tuple."""
    kinds = {**(typing.get_type_hints(base) if base is not None else {}), **more}
    return {
        "type": "object",
        "properties": {name: schema_of(kind) if not isinstance(kind, dict) else kind for name, kind in kinds.items()},
        "required": list(kinds),
        "additionalProperties": False,
    }


def listed(item: Any) -> dict[str, Any]:
    """Return the schema of a list of objects whose schema, or type, is given."""
    return {"type": "array", "items": item if isinstance(item, dict) else schema_of(item)}
