"""The result of a group: a set of results with an id, which can be saved and found again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lavoro.protocol.lineage import importable, tuple_of
from lavoro.result.result_set import ResultSet
from lavoro.runtime import current_app


class GroupResult(ResultSet):
    """The results of a group's members, in its order, with the id of the group::

        result = group(add.s(i, i) for i in range(10))()
        result.get(timeout=10)                  # [0, 2, 4, ...]
        result.save()
        GroupResult.restore(result.id).ready()  # in any process

    Its application is that of the first member, unless it is given.
    """

    def __init__(
        self, id: str | None = None, results: Iterable[Any] = (), parent: Any = None, app: Any = None, **_: Any
    ) -> None:
        self.id = id
        self.parent = parent
        super().__init__(results, app=app)

    @property
    def children(self) -> list[Any]:
        """The results of the members."""
        return self.results

    def save(self, backend: Any = None) -> Any:
        """Store which tasks it consists of, as long as results are kept; replaces what was saved under its id."""
        return (backend or self.app.backend).save_group(self.id, self)

    def delete(self, backend: Any = None) -> None:
        """Drop what ``save`` has stored; the results stay."""
        (backend or self.app.backend).delete_group(self.id)

    @classmethod
    def restore(cls, id: str, backend: Any = None, app: Any = None) -> Any:
        """Return the result that was saved under an id; None if there is none."""
        app = app or cls._app or current_app.get()
        return (backend or app.backend).restore_group(id)

    def as_tuple(self) -> tuple[Any, list[Any]]:
        """Return the form that ``result_from_tuple`` and JSON know: ``((id, parent's tuple), members' tuples)``."""
        return tuple_of(self)

    def __json__(self) -> Any:
        return self.as_tuple()

    def __reduce__(self) -> Any:
        return importable(type(self)), (self.id, self.results, self.parent)

    def __bool__(self) -> bool:
        return bool(self.id or self.results)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GroupResult):
            return (self.id, self.results, self.parent) == (other.id, other.results, other.parent)
        return self.id == other if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id} [{', '.join(result.id for result in self.results)}]>"

    def __str__(self) -> str:
        return str(self.id)
