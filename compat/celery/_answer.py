"""Answers for a module of Celery with the names of Lavoro's modules, or with a stand-in for an absent name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType, ModuleType
from typing import Any

from celery import _surface
from celery._stand_in import StandIn, missing_name
from lavoro.config.absent import ABSENT


def answer(
    *sources: str, renamed: Mapping[str, str] | None = None, replaced: bool = False
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for the module that calls it.

    ``sources`` are modules of Lavoro: a name is looked up in each, then among the submodules of the package.
    ``renamed`` gives Lavoro's name for one of Celery's. A name of Celery that none of them has is a stand-in with the
    sentence that ``lavoro.config.absent`` has for the name, its module or its package. ``replaced``: other packages
    put their own functions in the place of this module's, so there an absent name raises ImportError at once.
    """
    return answer_for(sys._getframe(1).f_globals["__name__"], sources, renamed or {}, replaced)


def answer_for(
    module: str,
    sources: tuple[str, ...] = (),
    renamed: Mapping[str, str] = MappingProxyType({}),
    replaced: bool = False,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for a module."""

    def find(name: str) -> Any:
        if name == "__all__":
            return listed()
        if name.startswith("_"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        for candidate in (name, renamed.get(name)):
            for source in _existing(() if f"lavoro.{name}" in ABSENT else sources):
                if candidate and _is_public(source, candidate):
                    return getattr(source, candidate)
        full = f"{module}.{name}"
        if hasattr(sys.modules[module], "__path__") and find_spec(full):
            return import_module(full)
        recorded = _surface.modules().get(module, {})
        if name in recorded:
            for home, original in _elsewhere(recorded[name]):
                found = getattr(import_module(home), original)
                if not isinstance(found, StandIn):
                    return found
            for row in _rows(module, name):
                if row in ABSENT:
                    if replaced:
                        raise missing_name(full, ABSENT[row].sentence)
                    return StandIn(full, ABSENT[row].sentence)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    def listed() -> list[str]:
        own = (name for name in vars(sys.modules[module]) if not name.startswith("_") and name != "answer")
        theirs = (name for source in _existing(sources) for name in vars(source) if _is_public(source, name))
        return sorted({*own, *theirs, *renamed})

    return find, listed


def forward(source: str) -> None:
    """Set in a module of Lavoro each public name of it that is set in the module that calls this."""
    theirs, module = import_module(source), sys.modules[sys._getframe(1).f_globals["__name__"]]

    class Forwarding(ModuleType):
        def __setattr__(self, name: str, value: Any) -> None:
            if not name.startswith("_") and hasattr(theirs, name):
                setattr(theirs, name, value)
            else:
                super().__setattr__(name, value)

    module.__class__ = Forwarding


def _rows(module: str, name: str) -> Iterator[str]:
    """The rows of ``lavoro.config.absent`` that may tell of a name, the most exact first."""
    yield f"{module}.{name}"
    while module != "celery":
        yield module
        module = module.rpartition(".")[0]
    yield f"lavoro.{name}"
    yield f"app.{name}"


def _elsewhere(entry: Any) -> Iterator[tuple[str, str]]:
    """Yield the module from which Celery's module has a name, and the name there."""
    if isinstance(entry, str) and not entry.startswith("("):
        home, _, original = entry.rpartition(".")
        if not original.startswith("_") and home in _surface.modules():
            yield home, original


def _existing(sources: tuple[str, ...]) -> Iterator[ModuleType]:
    return (import_module(source) for source in sources if find_spec(source))


def _is_public(source: ModuleType, name: str) -> bool:
    """Tell whether a module offers a name: neither modules nor names of other packages, which it only uses."""
    if name.startswith("_") or not hasattr(source, name):
        return False
    value = getattr(source, name)
    origin = getattr(value, "__module__", None) or "lavoro"
    return not isinstance(value, ModuleType) and str(origin).partition(".")[0] in ("lavoro", "celery")
