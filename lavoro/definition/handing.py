"""Finds the parameters of a function that are resources, and puts these into its calls."""

from __future__ import annotations

import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from lavoro.definition.arguments import signature_of
from lavoro.exceptions import ImproperlyConfigured
from lavoro.serialization.json import type_encoders
from lavoro.text.failing import shown

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Given:
    """The default of a parameter that is a resource: type checkers then accept calls without it."""

    def __repr__(self) -> str:
        return "given"


given: Any = Given()


class Place(NamedTuple):
    """A parameter that is a resource."""

    name: str
    position: int | None
    """Among the positional parameters; None for one that is given by name alone."""
    resource: Any


class Handed:
    """The resources among the parameters of one function."""

    __slots__ = ("_most", "names", "places")

    def __init__(self, places: Sequence[Place], positional: float) -> None:
        self.places = tuple(places)
        self.names = frozenset(place.name for place in places)
        self._most = positional - sum(place.position is not None for place in places)
        """The number of positional arguments that a call may have; one with more gives the resources itself."""

    def joined(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return the arguments of a call with the resources, except for those that the call gives itself."""
        if len(args) > self._most:
            return args, {**{p.name: p.resource.get() for p in self.places if p.position is None}, **kwargs}
        args, kwargs = list(args), dict(kwargs)
        for name, position, resource in self.places:  # in the order of the parameters
            if name in kwargs:
                continue
            if position is not None and position < len(args):
                args.insert(position, resource.get())
            else:
                kwargs[name] = resource.get()
        return args, kwargs


def handed(function: Callable[..., Any], known: Mapping[str, Any], *, skip_first: bool) -> Handed | None:
    """Find the resources among the parameters of a function; None if there are none.

    ``known`` are the resources by name: each has ``get`` and, if it is annotated, the ``type`` of what it makes.
    """
    signature = _signature(function, skip_first=skip_first)
    if signature is None:
        return None
    places, positional = [], 0.0
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional = math.inf
        position = int(positional) if parameter.kind in _POSITIONAL else None
        positional += position is not None
        resource = _resource_of(function, parameter, known) if parameter.kind in _NAMED else None
        if resource is not None:
            places.append(Place(parameter.name, position, resource))
    return Handed(places, positional) if places else None


def handing(run: Callable[..., Any], found: Callable[[], Handed]) -> Callable[..., Any]:
    """Wrap a function so that it gets its resources; ``found`` returns them at each call, so that more may join."""

    @functools.wraps(run)
    def with_resources(*args: Any, **kwargs: Any) -> Any:
        joined, named = found().joined(args, kwargs)
        return run(*joined, **named)

    return with_resources


def undefined(function: Callable[..., Any], known: Mapping[str, Any], *, skip_first: bool) -> list[str]:
    """Return the names of the parameters with the default ``given`` for which there is no resource."""
    signature = _signature(function, skip_first=skip_first)
    found = handed(function, known, skip_first=skip_first)
    names = found.names if found is not None else frozenset()
    parameters = signature.parameters.values() if signature is not None else ()
    return [parameter.name for parameter in parameters if parameter.default is given and parameter.name not in names]


def required(function: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters that a call must give."""
    signature = _signature(function, skip_first=False)
    parameters = signature.parameters.values() if signature is not None else ()
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variable]


def made_type(function: Callable[..., Any]) -> type | None:
    """Return the class of what a generator function yields, if its annotation names one that no message carries."""
    signature = _signature(function, skip_first=False)
    annotation = _evaluated(function, signature.return_annotation) if signature is not None else None
    parts = typing.get_args(annotation)
    cls = _evaluated(function, parts[0]) if parts else None
    plain = not isinstance(cls, type) or cls.__module__ == "builtins" or cls in type_encoders
    return None if plain else cls


def _signature(function: Callable[..., Any], *, skip_first: bool) -> inspect.Signature | None:
    """Return the signature; for a decorator that takes any keyword, that of the decorated function."""
    own = signature_of(function, skip_first=skip_first)
    if own is None or any(p.kind is p.VAR_KEYWORD for p in own.parameters.values()):
        return signature_of(function, skip_first=skip_first, follow_wrapped=True)
    return own


def _resource_of(function: Callable[..., Any], parameter: inspect.Parameter, known: Mapping[str, Any]) -> Any:
    """Return the resource of the parameter's name, else the one that makes objects of its annotation."""
    if parameter.name in known:
        return known[parameter.name]
    annotation = _evaluated(function, parameter.annotation)
    resources = list(known.values())
    for marked in getattr(annotation, "__metadata__", ()):
        if any(marked is resource for resource in resources):
            return marked
    wanted = _classes(annotation)
    found = [resource for resource in resources if resource.type in wanted]
    if len(found) > 1:
        names = " and ".join(repr(resource.name) for resource in found)
        raise ImproperlyConfigured(
            f"the parameter {parameter.name!r} of {shown(function)} is a {found[0].type.__name__}, which the resources"
            f" {names} make: give it the name of one of them"
        )
    return found[0] if found else None


def _classes(annotation: Any) -> list[type]:
    """Return the class that an annotation names, also beside None."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    parts = typing.get_args(annotation) if union else (annotation,)
    classes = [part for part in parts if isinstance(part, type) and part not in (type(None), inspect.Parameter.empty)]
    return classes if len(classes) == 1 else []


def _evaluated(function: Callable[..., Any], annotation: Any) -> Any:
    """Return what an annotation means; None if it is a text with a name that only type checkers know."""
    if not isinstance(annotation, str):
        return annotation
    names = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        return eval(annotation, names)  # noqa: S307  # the text is code of the application
    except Exception:
        return None
