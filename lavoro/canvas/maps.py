"""``xmap``, ``xstarmap`` and ``chunks``: one message that calls a task for each of many arguments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from lavoro.canvas.group import group
from lavoro.canvas.kinds import register_type
from lavoro.canvas.signature import Signature, maybe_signature


class _OfTask(Signature[Any]):
    """A signature that calls another task: it belongs to the application of that one."""

    def _parts(self) -> Iterable[Any]:
        return (self.kwargs["task"],)


class _Map(_OfTask):
    task_name = ""

    def __init__(self, task: Any, it: Iterable[Any], **options: Any) -> None:
        kind = type(self).__name__
        super().__init__(
            self.task_name, (), {"task": task, "it": list(it)}, immutable=True, subtask_type=kind, **options
        )

    @classmethod
    def from_dict(cls, form: Mapping[str, Any], app: Any = None) -> Any:
        """Make it of its dict."""
        kwargs = form["kwargs"]
        return cls(maybe_signature(kwargs["task"], app=app), kwargs["it"], app=app, **form.get("options", {}))

    def apply_async(self, args: Any = None, kwargs: Any = None, route_name: str | None = None, **options: Any) -> Any:
        """Send it, to the queue of the task that it calls."""
        return super().apply_async(route_name=route_name or self.kwargs["task"]["task"], **options)


@register_type()
class xmap(_Map):
    """One message that calls a task for each item, one after the other; the result is the list of theirs."""

    task_name = "celery.map"

    def __repr__(self) -> str:
        return f"[{self.kwargs['task']['task']}(x) for x in {self.kwargs['it']!r:.100}]"


@register_type()
class xstarmap(_Map):
    """One message that calls a task with the arguments of each item; the result is the list of theirs."""

    task_name = "celery.starmap"

    def __repr__(self) -> str:
        return f"[{self.kwargs['task']['task']}(*x) for x in {self.kwargs['it']!r:.100}]"


@register_type()
class chunks(_OfTask):
    """Many calls in messages of ``n`` calls each: a group of ``xstarmap``."""

    def __init__(self, task: Any, it: Iterable[Any], n: int, **options: Any) -> None:
        kwargs = {"task": task, "it": list(it), "n": n}
        super().__init__("celery.chunks", (), kwargs, immutable=True, subtask_type="chunks", **options)

    @classmethod
    def from_dict(cls, form: Mapping[str, Any], app: Any = None) -> Any:
        """Make it of its dict."""
        kwargs, options = form["kwargs"], form.get("options", {})
        return cls(maybe_signature(kwargs["task"], app=app), kwargs["it"], kwargs["n"], app=app, **options)

    def __call__(self, **options: Any) -> Any:
        """Send it."""
        return self.apply_async(**options)

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """Send it, to the queue of the task that it calls."""
        return self.group().apply_async(args, kwargs, route_name=self.kwargs["task"]["task"], **options)

    def group(self) -> group[Any]:
        """Return the group of its messages."""
        task, it, n = self.kwargs["task"], self.kwargs["it"], self.kwargs["n"]
        return group([xstarmap(task, part, app=self._app) for part in _parts(it, n)], app=self.app)

    @classmethod
    def apply_chunks(cls, task: Any, it: Iterable[Any], n: int, app: Any = None) -> Any:
        """Send calls in messages of ``n``."""
        return cls(task, it, n, app=app)()


def _parts(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    each = iter(items)
    while part := list(islice(each, size)):
        yield part
