"""The entries of periodic tasks that discovered modules ``scheduled`` hold in a variable."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from lavoro.exceptions import ImproperlyConfigured
from lavoro.text.printable import described

VARIABLE = "schedule"
"""The variable: a dict of entries by their names, as the setting ``beat_schedule`` is."""


class ScheduledEntries:
    """Adds the entries of modules to the setting ``beat_schedule`` of one application."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._modules: dict[str, ModuleType] = {}
        """By the name of an entry, the module that it is from."""

    def add(self, module: ModuleType) -> None:
        """Add those of a module; raises ``ImproperlyConfigured`` for a name that another entry has already."""
        entries = vars(module).get(VARIABLE)
        if entries is None or callable(entries) or isinstance(entries, ModuleType):  # the class of that name, perhaps
            return
        if not isinstance(entries, Mapping):
            raise ImproperlyConfigured(
                f"{VARIABLE} in {_place(module)} must be a dict of entries by name, not {described(entries, 200)}"
            )
        known = self._app.conf["beat_schedule"]
        for name in entries:
            if name in known and self._modules.get(name) is not module:
                raise ImproperlyConfigured(
                    f"two entries have the name {name!r}: one is in {self._origin(name)}, the other in"
                    f" {_place(module)}; give one of them another name"
                )
        self._modules.update(dict.fromkeys(entries, module))
        self._app.conf["beat_schedule"] = {**known, **entries}

    def _origin(self, name: str) -> str:
        module = self._modules.get(name)
        return "the setting beat_schedule, where code may have added it" if module is None else _place(module)


def _place(module: ModuleType) -> str:
    return f"{module.__name__} ({module.__file__})"
