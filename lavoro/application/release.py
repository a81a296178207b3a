"""The release of an application: a name that the settings give, or a digest of its modules."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

DIGITS = 16
"""The length of the digest: 64 bits."""


def release_of(app: Any) -> str:
    """Return the setting ``lavoro_release``, else a digest of the modules with tasks and start-up functions."""
    named = app.conf["lavoro_release"]
    return str(named) if named is not None else _digest(_modules_of(app))


def _modules_of(app: Any) -> list[ModuleType]:
    functions = [hook.function for hook in app.startup.of("fleet", "worker", "process")]
    names = {type(task).__module__ for task in app.tasks.values()}
    names |= {str(getattr(function, "__module__", "")) for function in functions}
    own = sorted(name for name in names if name.partition(".")[0] != "lavoro")
    return [sys.modules[name] for name in own if name in sys.modules]


def _digest(modules: Iterable[ModuleType]) -> str:
    """Hash the texts of the modules, in the order of their names: equal files are equal on each machine."""
    found = hashlib.sha256()
    for module in modules:
        file = getattr(module, "__file__", None)
        text = Path(file).read_bytes() if file and Path(file).is_file() else b""
        found.update(f"{module.__name__} {len(text)}\n".encode() + text)
    return found.hexdigest()[:DIGITS]
