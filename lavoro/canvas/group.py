"""``group``: tasks side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lavoro.canvas.kinds import register_type
from lavoro.canvas.signature import R, Signature, field, maybe_signature
from lavoro.canvas.stamping import stamp_links, stamps_of


@register_type()
class group(Signature[list[R]]):
    """Send tasks side by side; the result is a ``GroupResult``, whose value is the list of theirs, in this order::

    group(add.s(i, i) for i in range(10))().get()     # [0, 2, 4, ...]
    """

    tasks = field("kwargs", "tasks")

    def __init__(self, *tasks: Any, **options: Any) -> None:
        super().__init__(
            "celery.group", (), {"tasks": members(tasks, options.get("app"))}, subtask_type="group", **options
        )

    @classmethod
    def from_dict(cls, form: Mapping[str, Any], app: Any = None) -> group[Any]:
        """Make the group of its dict."""
        form["kwargs"]["tasks"] = tasks = [maybe_signature(task, app=app) for task in form["kwargs"]["tasks"]]
        made = cls(tasks, app=app, **form["options"])
        made.update(args=form.get("args", ()), immutable=form.get("immutable", False))
        return made

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Send it, with these arguments before those of each member."""
        return self.apply_async(args, **options)

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> group[R]:
        """Set the countdown of one member after the other, in steps up to ``stop``; return the group."""
        for number, task in enumerate(self.tasks):
            countdown = start + number * step
            task.set(countdown=countdown if stop is None else min(countdown, stop))
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Set it for each member."""
        for task in self.tasks:
            task.set_immutable(immutable)

    def link(self, callback: Any) -> Any:
        """Have a task called, without a result, when the first member succeeds; for all of them make a chord."""
        return self.tasks[0].link(callback.clone().set(immutable=True))

    def link_error(self, errback: Any) -> Any:
        """Have a task called for each member that fails; return its copies."""
        errback = maybe_signature(errback)
        return tuple(task.link_error(errback.clone()) for task in self.tasks)

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> None:
        """Add headers to each member."""
        asked = (visitor.on_group_start(self, **headers) or {}) if visitor is not None else None
        headers = stamps_of(self, asked, append_stamps, headers)
        stamp_links(self, visitor, append_stamps, headers)
        self.tasks = [maybe_signature(task, app=self._app) for task in self.tasks]
        for task in self.tasks:
            task.stamp(visitor, append_stamps, **headers)
        if visitor is not None:
            visitor.on_group_end(self, **headers)

    def leaves(self) -> Iterator[Any]:
        """Yield copies of what is sent: the members, those of inner groups in their place, no empty chains."""
        for task in self.tasks:
            each = maybe_signature(task, app=self._app, clone=True)
            if each.subtask_type == "group":
                yield from each.leaves()
            elif each.subtask_type != "chain" or each.tasks:
                yield each

    @property
    def app(self) -> Any:
        """The application: its own, else that of its first member."""
        if self._app is None and self.tasks and isinstance(self.tasks[0], Signature):
            return self.tasks[0].app
        return super().app

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"group({', '.join(map(repr, self.tasks))})" if self.tasks else "group(<empty>)"


def members(tasks: tuple[Any, ...], app: Any) -> list[Any]:
    """Return the members of a group: one after the other, or those of one iterable or group."""
    if len(tasks) != 1:
        return list(tasks)
    (given,) = tasks
    if isinstance(given, group):
        return list(given.tasks)
    if isinstance(given, Mapping):
        return [maybe_signature(given, app=app, clone=True)]
    if not isinstance(given, Iterable):
        raise TypeError(f"a group is made of signatures, not of {given!r:.80}")
    return list(given)
