"""Records the public names and signatures of the Celery that is installed: ``python -I record_surface.py FILE``."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import celery

PRIVATE_PARTS = re.compile(r"(^|\.)_")


def main() -> None:
    """Write the record; one line a name, so that a new version of Celery shows as a diff."""
    (target,) = sys.argv[1:]
    warnings.simplefilter("ignore")
    root = Path(celery.__file__).parent
    surface = {name: _names_of(name, file) for name, file in sorted(_modules(root))}
    lines = []
    for module, names in surface.items():
        inner = ",\n".join(f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(names.items()))
        lines.append(f" {json.dumps(module)}: {{\n{inner}\n }}" if names else f" {json.dumps(module)}: {{}}")
    Path(target).write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _modules(root: Path) -> Iterator[tuple[str, Path]]:
    for file in root.rglob("*.py"):
        name = ".".join(("celery", *file.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
        if not PRIVATE_PARTS.search(name):
            yield name, file


def _names_of(name: str, file: Path) -> dict[str, Any]:
    """The public names that a module has of Celery's, each with its entry.

    They are read from the source, because some modules need packages that Celery does not require.
    """
    found = _defined(ast.parse(file.read_text()))
    module: ModuleType | None
    try:
        module = import_module(name)
    except ImportError:
        module = None
    found.update(getattr(module, "__all__", ()))
    values = {each: getattr(module, each, None) for each in found if not each.startswith("_")}
    return {each: _entry(f"{name}.{each}", value) for each, value in values.items() if not inspect.ismodule(value)}


def _defined(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom) and (node.level or f"{node.module}.".startswith("celery.")):
            found |= {name.asname or name.name for name in node.names}
    return found


def _entry(path: str, value: Any) -> Any:
    """A signature; for a class its constructor's, and those of what it defines; null for all other values.

    A class or function that has another name too, there or in another module of Celery, is given as that path.
    """
    home = _home(value, path.rpartition(".")[2])
    if home not in ("", path) and not PRIVATE_PARTS.search(home):
        return home
    if inspect.isclass(value):
        return {"signature": signature(value), "members": _members(value)}
    return signature(value) if inspect.isroutine(value) else None


def _home(value: Any, name: str) -> str:
    """The path under which a class or function was defined, if it is there under its own name, or this one."""
    if not inspect.isclass(value) and not inspect.isroutine(value):
        return ""
    module = str(value.__module__)
    names = (each for each in (str(value.__qualname__), name) if not each.startswith("_"))
    there = next((each for each in names if getattr(sys.modules.get(module), each, None) is value), None)
    return f"{module}.{there}" if there and module.startswith("celery.") else ""


def _members(cls: type) -> dict[str, str | None]:
    own = {name: value for name, value in vars(cls).items() if not name.startswith("_")}
    return {
        name: signature(getattr(cls, name)) if isinstance(value, (staticmethod, classmethod)) else signature(value)
        for name, value in sorted(own.items())
        if not inspect.isclass(value)
    }


def signature(value: Any) -> str | None:
    """A callable's parameters as Python text, without annotations; None for what has none."""
    if not callable(value):
        return None
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return None
    plain = [
        parameter.replace(annotation=parameter.empty, default=_shown(parameter.default))
        for parameter in found.parameters.values()
    ]
    return str(found.replace(parameters=plain, return_annotation=found.empty))


class _Other:
    def __repr__(self) -> str:
        return "..."


def _shown(default: Any) -> Any:
    """A default that is the same at each run: sets in order, and dots for objects that have no text of their own."""
    if isinstance(default, frozenset):
        return sorted(default)
    return _Other() if default is not inspect.Parameter.empty and "<" in repr(default) else default


if __name__ == "__main__":
    main()
