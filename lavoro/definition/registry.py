"""The tasks an application knows, by name."""

from __future__ import annotations

from typing import Any

from lavoro.definition.comparison import Definition, difference
from lavoro.exceptions import ImproperlyConfigured, NotRegistered


class TaskRegistry(dict[str, Any]):
    """A dict from task name to task; a missing name raises ``NotRegistered``, which is an attribute, too."""

    NotRegistered = NotRegistered

    def __missing__(self, name: str) -> Any:
        raise NotRegistered(
            f"task {name!r} is not registered: is the module that defines it imported (setting `imports`)?"
        )

    def register(self, task: Any) -> None:
        """Add a task under its own name; raises ImproperlyConfigured if that name stands for other code."""
        known = self.get(task.name)
        if known is not task and task.__definition__ is not None:
            self.known(task.name, task.__definition__)
        self[task.name] = task

    def known(self, name: str, definition: Definition) -> Any:
        """Return the task of that name if there is one; raises ImproperlyConfigured if it is made from other code."""
        task = self.get(name)
        apart = (
            difference(task.__definition__, definition)
            if task is not None and task.__definition__ is not None
            else None
        )
        if apart is not None:
            raise ImproperlyConfigured(
                f"two tasks have the name {name!r}: one is at {apart[0]}; the other is at {apart[1]}. Give one of them"
                " another name (name=...), or remove the first with app.tasks.unregister(name)"
            )
        return task

    def unregister(self, name: Any) -> None:
        """Remove a task, given by name or itself."""
        name = getattr(name, "name", name)
        if name not in self:
            raise NotRegistered(f"task {name!r} is not registered")
        del self[name]

    def regular(self) -> dict[str, Any]:
        """The tasks as a plain dict, without those whose ``type`` is another."""
        return self.filter_types("regular")

    def periodic(self) -> dict[str, Any]:
        """The tasks whose attribute ``type`` is "periodic"."""
        return self.filter_types("periodic")

    def filter_types(self, type: str) -> dict[str, Any]:
        """The tasks of a type, by name."""
        return {name: task for name, task in self.items() if getattr(task, "type", "regular") == type}
