"""The copies that an application has of shared tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lavoro.runtime import current_app
from lavoro.runtime.forking import ForkedLock, in_each_fork

Make = Callable[[Any], Any]
"""Makes an application's copy of a shared task."""


class SharedTasks:
    """Copies the shared tasks for one application, which holds ``lock`` while it makes a task."""

    def __init__(self, app: Any, lock: ForkedLock) -> None:
        self._app, self._lock = app, lock
        self._copies: dict[Make, Any] = {}
        self._begin()
        in_each_fork(self._begin)

    def _begin(self) -> None:
        self._copying = False

    @property
    def complete(self) -> bool:
        """Whether each shared task has its copy."""
        return len(self._copies) >= len(current_app.shared)

    def copy(self) -> None:
        """Make the copies that are missing: late, so that subclasses of the application have their say in it."""
        with self._lock.held:
            if self._copying:
                return  # a subclass's own `task` looks into the tasks
            self._copying = True
            try:
                for make in current_app.shared[len(self._copies) :]:
                    self._copies[make] = make(self._app)
            finally:
                self._copying = False

    def copy_of(self, make: Make) -> Any:
        """Return the copy of the shared task that ``make`` makes."""
        if make not in self._copies:
            self.copy()
        return self._copies.get(make) or make(self._app)
