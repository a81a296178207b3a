"""The modules that define an application's tasks: those that settings name, and those that are to be discovered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from lavoro import signals
from lavoro.application.discovered import import_below
from lavoro.application.scheduled import ScheduledEntries
from lavoro.runtime.importing import import_named, import_related

Packages = Iterable[str] | Callable[[], Iterable[str]] | None
"""Names of packages, or a function that returns them when they are to be imported."""


class TaskModules:
    """Imports the modules of one application."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._discovered: list[tuple[Packages, str | None]] = []
        self._trees: list[str] = []
        """Packages that are searched with all packages below them."""
        self._entries = ScheduledEntries(app)

    def discover(self, packages: Packages, related_name: str | None) -> None:
        """Import the module of that name of each package, together with the modules that settings name."""
        self._discovered.append((packages, related_name))

    def discover_below(self, packages: Iterable[str]) -> None:
        """Import the modules with names of their own in these packages and below them, after all others."""
        for package in packages:
            if not isinstance(package, str):
                raise TypeError(f"a package to discover is given by its name, not as {package!r:.100}")
        self._trees += [package for package in packages if package not in self._trees]

    def import_all(self) -> list[ModuleType]:
        """Import them; return those that settings name."""
        signals.import_modules.send(self._app)
        found = []
        for setting in ("imports", "include"):
            names = self._app.conf[setting]
            found += [import_named(name, setting) for name in ([names] if isinstance(names, str) else names or ())]
        for packages, related_name in self._discovered:
            import_discovered(packages, related_name)
        for package in dict.fromkeys((*self._trees, *self._app.packages_to_discover())):
            for module in import_below(package):
                if module.__name__.endswith(".scheduled"):
                    self._entries.add(module)
        return found


def import_discovered(packages: Packages, related_name: str | None) -> None:
    """Import the module of that name of each package that has one."""
    for package in (packages() if callable(packages) else packages) or ():
        import_related(package, related_name)
