"""``group``: tasks side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from lavoro.calling.members import Members
from lavoro.calling.message_builder import calling_task
from lavoro.calling.outbox import HOW, gathered
from lavoro.canvas.kinds import register_type, shown
from lavoro.canvas.signature import R, Signature, field, given, maybe_signature, of_tasks, taken
from lavoro.canvas.stamping import stamp_links, stamps_of
from lavoro.protocol.ids import uuid7
from lavoro.runtime.collecting import uncollected

if TYPE_CHECKING:
    from lavoro.result import GroupResult


@register_type()
class group(Signature[list[R]]):
    """Send tasks side by side; the result is a ``GroupResult``, whose value is the list of theirs, in this order::

    group(add.s(i, i) for i in range(10))().get()     # [0, 2, 4, ...]
    """

    tasks = field("kwargs", "tasks")

    def __init__(self, *tasks: Signature[R] | Iterable[Signature[R]], **options: Any) -> None:
        super().__init__(
            "celery.group", (), {"tasks": members(tasks, options.get("app"))}, subtask_type="group", **options
        )

    @classmethod
    def from_dict(cls, form: Mapping[str, Any], app: Any = None) -> group[Any]:
        """Make the group of its dict."""
        return of_tasks(cls, form, app)  # type: ignore[no-any-return]

    def __call__(self, *args: Any, **options: Any) -> GroupResult:
        """Send it, with these arguments before those of each member."""
        return self.apply_async(args, **options)

    if TYPE_CHECKING:

        def delay(self, *args: Any, **kwargs: Any) -> GroupResult: ...  # type: ignore[override]

    def apply_async(  # type: ignore[override]  # as Celery's
        self, args: Any = None, kwargs: Any = None, route_name: Any = None, add_to_parent: bool = True,
        link: Any = None, link_error: Any = None, **options: Any,
    ) -> GroupResult:  # fmt: skip
        """Send the members, all or none, with these arguments before their own; return their ``GroupResult``."""
        if link is not None:
            raise TypeError("Cannot add link to group: use a chord")
        if link_error is not None:
            raise TypeError("Cannot add link to group: do that on individual tasks")
        app = self.app
        if app.conf["task_always_eager"]:
            return self.apply(args, kwargs, **options)
        if not self.tasks:
            return self.freeze()
        options = {**self.options, **given(options)}
        if route_name is not None:
            options["route_name"] = route_name
        options["group_id"] = id = options.pop("task_id", None) or str(uuid7())
        leaves = list(self.leaves())
        with gathered(app, taken(options, HOW)):
            results = send_members(app, leaves, args, kwargs, options)
        result: GroupResult = app.GroupResult(id, results)
        if len(results) == 1 and hasattr(results[0], "results"):
            result = results[0]  # of a chain that ends in a group
        if add_to_parent:
            add_children(result)
        return result

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> GroupResult:
        """Run the members here, now, one after the other; return their ``GroupResult``."""
        if not self.tasks:
            return self.freeze()
        options = {**self.options, **options}
        options["group_id"] = id = options.pop("task_id", None) or str(uuid7())
        results = [
            leaf.clone().apply(args, kwargs, **{**options, "group_index": index})
            for index, leaf in enumerate(self.leaves())
        ]
        return self.app.GroupResult(id, results)  # type: ignore[no-any-return]

    def freeze(
        self, _id: str | None = None, group_id: str | None = None, chord: Any = None, root_id: str | None = None,
        parent_id: str | None = None, group_index: int | None = None,
    ) -> GroupResult:  # fmt: skip
        """Fix the ids of the group and its members, in place, and return its ``GroupResult``."""
        own = given({"group_id": group_id, "chord": chord, "group_index": group_index})
        self.options.update(own)
        id = self.options.setdefault("task_id", _id or str(uuid7()))
        for name, value in (("root_id", root_id), ("parent_id", parent_id)):
            self.options.setdefault(name, value)
        self.tasks = [leaf.clone() for leaf in self.leaves()]
        results = [
            task.freeze(group_id=group_id, chord=chord, root_id=root_id, parent_id=parent_id, group_index=index)
            for index, task in enumerate(self.tasks)
        ]
        return self.app.GroupResult(id, results)  # type: ignore[no-any-return]

    _freeze = freeze

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
        """Yield what is sent: the members, those of inner groups in their place, no empty chains."""
        for task in self.tasks:
            each = maybe_signature(task, app=self._app)
            kind = each["subtask_type"]
            if kind == "group":
                yield from each.leaves()
            elif kind != "chain" or each.tasks:
                yield each

    def _parts(self) -> Iterable[Any]:
        return list(islice(self.tasks, 2))

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"group([{shown(self.tasks, ', ')}])" if self.tasks else "group(<empty>)"


def add_children(*results: Any) -> None:
    """Note results at the task that calls, unless it leaves no trail."""
    caller = calling_task()
    if caller is not None and getattr(caller.declared, "trail", True):
        caller.children.extend(results)


def send_members(app: Any, leaves: list[Any], args: Any, kwargs: Any, options: dict[str, Any]) -> list[Any]:
    """Send the members of a group, whose options have its ``group_id``; return their results."""
    results = []
    options = {**options, "add_to_parent": False}
    root_id, group_id = options.get("root_id"), options["group_id"]
    plain = Members(app, options)
    with uncollected(len(leaves)):
        for index, leaf in enumerate(leaves):
            result = leaf.added_to(plain, args, kwargs, index)
            if result is None:
                leaf = leaf.clone()
                result = leaf.freeze(group_id=group_id, root_id=root_id, group_index=index)
                leaf.apply_async(args, kwargs, **options)
            results.append(result)
    return results


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
