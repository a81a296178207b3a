"""The tasks an application knows, by name."""

from __future__ import annotations

from typing import Any

from lavoro.errors import NotRegistered


class TaskRegistry(dict[str, Any]):
    """A dict from task name to task; a missing name raises ``NotRegistered``."""

    def __missing__(self, name: str) -> Any:
        raise NotRegistered(
            f"task {name!r} is not registered: is the module that defines it imported (setting `imports`)?"
        )

    def register(self, task: Any) -> None:
        """Add a task under its own name."""
        self[task.name] = task

    def unregister(self, name: Any) -> None:
        """Remove a task, given by name or itself."""
        name = getattr(name, "name", name)
        if name not in self:
            raise NotRegistered(f"task {name!r} is not registered")
        del self[name]

    def regular(self) -> dict[str, Any]:
        """The tasks as a plain dict."""
        return dict(self)
