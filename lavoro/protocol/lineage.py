"""The application and the parents of a result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


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


def of_application(cls: type[T], app: Any) -> type[T]:
    """Return the class of an application's own results: they have that application unless another one is given."""
    return type(cls.__name__, (cls,), {"_app": app, "__module__": cls.__module__, "__doc__": cls.__doc__})


def importable(cls: type[T]) -> type[T]:
    """Return the class by which pickle names a result: of one of an application, whose name is taken, its base."""
    return cls.__bases__[0] if vars(cls).get("_app") is not None else cls


def tuple_of(result: Any) -> tuple[Any, Any]:
    """Return ``((id, parent's tuple), members' tuples)``; a loop, because a chain may have thousands of parents."""
    lineage = []
    while result is not None:
        lineage.append(result)
        result = getattr(result, "parent", None)
    form: Any = None
    for node in reversed(lineage):
        members = getattr(node, "results", None)
        form = (node.id, form), None if members is None else [member.as_tuple() for member in members]
    return form  # type: ignore[no-any-return]


def leaves(results: Iterable[Any]) -> Iterator[Any]:
    """Yield the results; in place of a set its members."""
    for result in results:
        members = getattr(result, "results", None)
        if members is None:
            yield result
        else:
            yield from leaves(members)


def child_form(result: Any) -> Any:
    """Return the form in which a task stores the result of a task that it has sent.

    That is its id, or the tuple of a group; without parents, of which a long chain has thousands.
    """
    members = getattr(result, "results", None)
    return result.id if members is None else _tuple(result)


def _tuple(result: Any) -> tuple[Any, Any]:
    members = getattr(result, "results", None)
    return (result.id, None), None if members is None else [_tuple(member) for member in members]
