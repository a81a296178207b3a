"""Compares two definitions of a task, and tells the file and line of each.

Two functions are the same if they are one object, or if all of this holds:

- their code is equal, and begins at the same line of the same file;
- their defaults, and the variables that they take from the functions around them, are the same.

So a module that is imported twice, or run as ``__main__`` and imported, defines the same tasks again; a function that
makes tasks does so only if it puts nothing else into them. Values are the same if they are equal. Functions and classes
are compared by their definition, objects without an equality of their own by their class and attributes.
"""

from __future__ import annotations

import functools
import inspect
import os.path
import types
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_DEEPEST = 6
"""Levels of nested values that are compared; deeper ones count as the same."""
_IN_OBJECTS = 2
"""Such levels inside of objects and classes, which may lead to the whole program."""
_MISSING, _UNSET = object(), object()


class Definition(NamedTuple):
    """The origin of a task: a callable or a class, with options or attributes."""

    code: Any
    options: Mapping[str, Any]

    @property
    def place(self) -> str:
        """The file and line."""
        return _place(self.code)


def difference(one: Definition, other: Definition) -> tuple[str, str] | None:
    """Return both places, each with its difference; None if the two are the same."""
    if not _same(one.code, other.code, _DEEPEST):
        return _told_apart(one.code, other.code)
    for name, left, right in _pairs(one.options, other.options):
        if not _same(left, right, _DEEPEST):
            return _named(one, name, left), _named(other, name, right)
    return None


def _told_apart(one: Any, other: Any) -> tuple[str, str]:
    """Return both places; if they are equal, each with the value that differs."""
    places = _place(one), _place(other)
    if places[0] != places[1]:
        return places
    for name, left, right in _pairs(dict(_contents(one)), dict(_contents(other))):
        if _same(left, right, _DEEPEST):
            continue
        inner = _place(left), _place(right)
        if callable(left) and callable(right) and inner[0] != inner[1]:
            return f"{places[0]} around {inner[0]}", f"{places[1]} around {inner[1]}"
        return _named(Definition(one, {}), name, left), _named(Definition(other, {}), name, right)
    return f"{places[0]} ({_name_of(one)})", f"{places[1]} ({_name_of(other)}, other code)"


def _named(definition: Definition, name: str, value: Any) -> str:
    """Write a place with the value there; only values that cannot be secrets are shown."""
    if value is _MISSING:
        return f"{definition.place} without {name}"
    shown = repr(value) if value is None or isinstance(value, (bool, int, float)) else f"a {type(value).__name__}"
    return f"{definition.place} with {name}={shown}"


def _place(value: Any) -> str:
    """Return the file and line of a callable's code, of ``run`` in a class; without a file, a name."""
    code = getattr(_function_in(value), "__code__", None)
    return f"{code.co_filename}, line {code.co_firstlineno}" if code is not None else _name_of(value)


def _function_in(value: Any) -> Any:
    if _is(value, functools.partial):
        return _function_in(value.func)
    if _is(value, types.MethodType):
        return value.__func__
    if _is(value, types.FunctionType):
        return value
    cls = value if _is(value, type) else type(value)
    return inspect.getattr_static(cls, "run", None) or inspect.getattr_static(cls, "__call__", None)


def _name_of(value: Any) -> str:
    return str(getattr(value, "__qualname__", None) or type(value).__qualname__)


def _is(value: Any, *types: type) -> bool:
    """Like ``isinstance``, but of the value itself: a proxy may stand for an object that does not exist now."""
    return issubclass(type(value), types)


# Comparing


def _same(one: Any, other: Any, depth: int) -> bool:
    if one is other or depth <= 0 or one is _UNSET or other is _UNSET:
        return True
    if type(one).__qualname__ != type(other).__qualname__:
        return False
    if _is(one, types.FunctionType):
        return one.__code__ == other.__code__ and _file(one) == _file(other) and _same_contents(one, other, depth)
    if _is(one, type):
        return _name_of(one) == _name_of(other) and _same_classes(one, other, min(depth, _IN_OBJECTS))
    if _is(one, list, tuple):
        return len(one) == len(other) and all(_same(*pair, depth - 1) for pair in zip(one, other, strict=True))
    if _is(one, dict):
        return _same_pairs(one, other, depth)
    if _is(one, types.MethodType, functools.partial):
        return _same_contents(one, other, depth)
    equality: Any = type(one).__eq__
    if equality is object.__eq__:
        depth = min(depth, _IN_OBJECTS)
        return _same(type(one), type(other), depth) and _same_contents(one, other, depth)
    return _equal(one, other)


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # arrays and SQL expressions have no truth
        return False


def _same_contents(one: Any, other: Any, depth: int) -> bool:
    return _same_pairs(dict(_contents(one)), dict(_contents(other)), depth)


def _same_pairs(one: Mapping[Any, Any], other: Mapping[Any, Any], depth: int) -> bool:
    return all(_same(left, right, depth - 1) for _, left, right in _pairs(one, other))


def _same_classes(one: type, other: type, depth: int) -> bool:
    return len(one.__mro__) == len(other.__mro__) and all(
        mine is theirs
        or all(_same(left, right, depth - 1) for _, left, right in _pairs(_members(mine), _members(theirs)))
        for mine, theirs in zip(one.__mro__, other.__mro__, strict=True)
    )


def _pairs(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> Iterator[tuple[Any, Any, Any]]:
    """Yield each name with both values."""
    for name in {**one, **other}:
        yield name, one.get(name, _MISSING), other.get(name, _MISSING)


def _contents(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values inside of a callable or an object, by name."""
    if _is(value, types.FunctionType):
        yield from _defaults(value)
        yield from _closure(value)
    elif _is(value, types.MethodType):
        yield from (("function", value.__func__), ("self", value.__self__))
    elif _is(value, functools.partial):
        yield from (("function", value.func), ("args", value.args), ("keywords", value.keywords))
    elif not _is(value, type):
        yield from getattr(value, "__dict__", {}).items()


def _defaults(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    values = function.__defaults__ or ()
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    yield from zip(names[len(names) - len(values) :], values, strict=True)
    yield from (function.__kwdefaults__ or {}).items()


def _closure(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the variables of the functions around it; one without a value is the name that is being defined."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:
            yield name, _UNSET


def _members(cls: type) -> dict[str, Any]:
    """Return the attributes that a class itself defines, without the application that it is bound to."""
    own = ((name, value) for name, value in vars(cls).items() if name != "_app")
    return {name: value for name, value in own if _is(value, types.FunctionType) or not name.startswith("__")}


def _file(function: types.FunctionType) -> str:
    return os.path.realpath(function.__code__.co_filename)
