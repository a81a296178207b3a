"""Stand-ins for names of Celery that Lavoro does not have: they can be imported, and raise when they are used.

Celery's test files import internals at their top. So a file can be loaded, and only its tests that use them fail.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NoReturn


class NotInLavoro(Exception):
    """A test uses a name of Celery that Lavoro does not have."""


class StandIn:
    """Stands for one name; every use of it raises ``NotInLavoro``."""

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def __repr__(self) -> str:
        return f"<stand-in for {object.__getattribute__(self, '_name')}>"

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        name = object.__getattribute__(self, "_name")
        return (type("StandInBase", (), {"__init__": lambda *_args, **_options: _refuse(name)}),)

    def __getattr__(self, attribute: str) -> NoReturn:
        if attribute.startswith("__"):  # asked by pytest, which collects the module
            raise AttributeError(attribute)
        _refuse(f"{object.__getattribute__(self, '_name')}.{attribute}")


def _refuse(name: str) -> NoReturn:
    raise NotInLavoro(f"the test uses {name}")


def _refusing(self: StandIn, *_args: Any, **_options: Any) -> NoReturn:
    _refuse(object.__getattribute__(self, "_name"))


for _method in (
    "__call__", "__setattr__", "__bool__", "__eq__", "__ne__", "__len__", "__iter__", "__contains__", "__getitem__",
    "__setitem__", "__enter__", "__add__", "__radd__", "__lt__", "__gt__", "__instancecheck__", "__mod__", "__or__",
):  # fmt: skip
    setattr(StandIn, _method, _refusing)
StandIn.__hash__ = object.__hash__  # type: ignore[method-assign]


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds each module of Celery: that of the alias, completed by tools and stand-ins, else one of these alone.

    ``tools`` are values that the tests themselves need, by their full names.
    """

    def __init__(self, tools: Mapping[str, Any]) -> None:
        self._tools = tools

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the module's spec; None for all modules that are not Celery's."""
        if fullname.partition(".")[0] != "celery":
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is None or spec.loader is None:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        spec.loader = _Completed(spec.loader, self)
        return spec

    def exec_module(self, module: ModuleType) -> None:
        """Let the module answer with a tool or a stand-in for each name that it does not have."""
        answer: Callable[[str], Any] | None = module.__dict__.get("__getattr__")

        def find(name: str) -> Any:
            full = f"{module.__name__}.{name}"
            if full in self._tools:
                return self._tools[full]
            if name.startswith(("__", "pytest_")):  # asked by pytest of a plugin
                raise AttributeError(name)
            if answer is not None:
                try:
                    found = answer(name)
                except (ImportError, AttributeError):
                    pass
                else:
                    if not _is_absent(found):
                        return found
            return sys.modules.get(full) or StandIn(full)

        module.__getattr__ = find  # type: ignore[method-assign]


def _is_absent(value: Any) -> bool:
    """Tell whether the alias answered with a stand-in of its own, which raises another error."""
    from celery._stand_in import StandIn as Absent

    return type(value) is Absent


class _Completed(importlib.abc.Loader):
    """Loads a module of the alias, and lets the finder complete it."""

    def __init__(self, loader: Any, finder: Finder) -> None:
        self._loader = loader
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._finder.exec_module(module)
