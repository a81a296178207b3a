"""Finds the modules of Celery that have no file here: each of their names is absent, and says so when it is used."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
from collections.abc import Sequence
from types import ModuleType

from celery import _surface
from celery._answer import answer_for


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Is asked last, so that a file goes first."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a module of Celery; None for all others."""
        if not fullname.startswith("celery.") or fullname not in _surface.modules():
            return None
        inside = any(name.startswith(f"{fullname}.") for name in _surface.modules())
        return importlib.machinery.ModuleSpec(fullname, self, is_package=inside)

    def exec_module(self, module: ModuleType) -> None:
        """Let the module answer for its names."""
        module.__doc__ = f"{module.__name__} of Celery, of which this release has nothing."
        vars(module)["__getattr__"], vars(module)["__dir__"] = answer_for(module.__name__)
