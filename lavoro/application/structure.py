"""The part of an application that finds its modules in its packages."""

from __future__ import annotations

from typing import Any

from lavoro.application.task_modules import TaskModules


class Structure:
    """Base of the application."""

    conf: Any
    _task_modules: TaskModules

    def discover(self, *packages: str) -> None:
        """Import, when the worker starts, the modules of these packages that have names of their own.

        In each package, and in all packages below it, these are ``scheduled``, ``shutdown``, ``startup`` and ``tasks``,
        as far as they exist. They are imported in the order of their full names. An error inside of one is raised as
        ``ImproperlyConfigured``, with the file and the line::

            app.discover("shop.domain")
        """
        self._task_modules.discover_below(packages)

    def packages_to_discover(self) -> list[str]:
        """Return the packages that the setting ``lavoro_discover`` names; for subclasses."""
        named = self.conf["lavoro_discover"] or ()
        return [named] if isinstance(named, str) else list(named)
