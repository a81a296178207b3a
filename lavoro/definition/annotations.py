"""The setting ``task_annotations``: attributes that the configuration gives to tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lavoro.config.settings import symbol


class MapAnnotation(dict[str, Any]):
    """Attributes by the name of the task; those of ``*`` are for all tasks."""

    def annotate(self, task: Any) -> Mapping[str, Any] | None:
        """Return the attributes of a task."""
        return self.get(task.name)

    def annotate_any(self) -> Mapping[str, Any] | None:
        """Return the attributes of every task."""
        return self.get("*")


def prepare(given: Any) -> list[Any]:
    """Return the annotations as objects with ``annotate`` and ``annotate_any``; a text is the path of a class."""
    listed = () if given is None else given if isinstance(given, (list, tuple)) else (given,)
    return [_prepared(annotation) for annotation in listed]


def resolve_all(annotations: Iterable[Any], task: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the attributes of the first annotation that knows the task, then those of the first for all tasks."""
    annotations = list(annotations)
    for method, args in (("annotate", (task,)), ("annotate_any", ())):
        answers = (getattr(annotation, method)(*args) for annotation in annotations if hasattr(annotation, method))
        if found := next((answer for answer in answers if answer is not None), None):
            yield found


def _prepared(annotation: Any) -> Any:
    if isinstance(annotation, str):
        return symbol(annotation)()
    return MapAnnotation(annotation) if isinstance(annotation, dict) else annotation
