"""The application and the parents of a result."""

from __future__ import annotations

from typing import Any


class Lineage:
    """A result with an id, an application, and perhaps a parent."""

    id: Any
    app: Any
    parent: Any

    @property
    def backend(self) -> Any:
        """The application's backend, which answers by ids."""
        return self.app.backend

    def as_list(self) -> list[str]:
        """Return the ids of this result and of its parents."""
        return [self.id, *(self.parent.as_list() if self.parent is not None else ())]
