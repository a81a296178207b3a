"""Changes Lavoro's modules as they are imported, when the variable LAVORO_RIG asks for it: faults, mutants, clocks.

Python imports a module of this name when it starts, wherever it is on the path: so it reaches supervisors and children.
Nothing is imported here that gevent must patch first.
"""

import importlib.abc
import importlib.util
import os
import sys


class _Changer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module as usual, and has it changed once it has been executed."""

    def __init__(self, changes):
        self._changes, self._loaders = changes, {}

    def find_spec(self, name, path=None, target=None):
        if name not in self._changes or name in self._loaders:
            return None
        self._loaders[name] = None  # so that the next finders are asked
        spec = importlib.util.find_spec(name)
        self._loaders[name], spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self._loaders[spec.name].create_module(spec)

    def exec_module(self, module):
        loader = self._loaders[module.__name__]
        module.__loader__ = module.__spec__.loader = loader
        loader.exec_module(module)
        for change in self._changes[module.__name__]:
            change(module)


if os.environ.get("LAVORO_RIG"):
    import rig_changes

    sys.meta_path.insert(0, _Changer(rig_changes.changes()))
