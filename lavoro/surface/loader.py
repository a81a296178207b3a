"""A loader as Celery's: imports the modules of tasks, and reads a configuration."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from lavoro.config.from_text import settings_of
from lavoro.config.settings import Settings


class Loader:
    """Imports the modules that define an application's tasks."""

    def __init__(self, app: Any, **_: Any) -> None:
        self.app = app
        self.task_modules: set[str] = set()

    @property
    def conf(self) -> Settings:
        """The application's settings."""
        return self.app.conf  # type: ignore[no-any-return]

    def import_default_modules(self) -> list[ModuleType]:
        """Import what the settings ``imports`` and ``include`` name, and what is to be discovered."""
        return self.app.import_modules()  # type: ignore[no-any-return]

    init_worker = import_default_modules

    def import_task_module(self, module: str) -> ModuleType:
        """Import a module, and remember that it has tasks."""
        self.task_modules.add(module)
        return self.import_from_cwd(module)

    def import_module(self, module: str, package: str | None = None) -> ModuleType:
        """Import a module."""
        return import_module(module, package=package)

    def import_from_cwd(self, module: str, imp: object = None, package: str | None = None) -> ModuleType:
        """Import a module; the path is that of the process."""
        return import_module(module, package=package)

    def autodiscover_tasks(self, packages: Iterable[str], related_name: str | None = "tasks") -> None:
        """Import the module of that name of each package, now."""
        self.app.autodiscover_tasks(packages, related_name, force=True)

    def config_from_object(self, obj: Any, silent: bool = False) -> bool:
        """Take settings from an object or its dotted path, now."""
        self.app.config_from_object(obj, silent=silent, force=True)
        return True

    def read_configuration(self, env: str = "CELERY_CONFIG_MODULE") -> dict[str, Any]:
        """Take settings from the module that the variable of the environment names, if it is set; return them all."""
        if os.environ.get(env):
            self.app.config_from_envvar(env, force=True)
        return self.app.conf.without_defaults()  # type: ignore[no-any-return]

    def cmdline_config_parser(self, args: Sequence[str], namespace: str = "celery") -> dict[str, Any]:
        """Read ``worker.concurrency=4``, or ``.concurrency=4`` of the namespace, into settings; values are Python's."""
        return settings_of(args, namespace)
