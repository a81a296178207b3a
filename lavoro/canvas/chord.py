"""``chord``: a group, and a task that is called with the list of its results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, overload

from lavoro.calling.outbox import HOW, gathered
from lavoro.canvas.composing import composed, last_of
from lavoro.canvas.errbacks import ACCUMULATE
from lavoro.canvas.failing import error_of, failed, first_of
from lavoro.canvas.group import add_children, group, send_members
from lavoro.canvas.kinds import register_type
from lavoro.canvas.signature import R, Signature, T, as_list, field, given, maybe_signature, signature, taken
from lavoro.canvas.stamping import stamp_links, stamps_of
from lavoro.exceptions import ChordError
from lavoro.protocol.ids import uuid7
from lavoro.result import AsyncResult
from lavoro.runtime.collecting import uncollected


@register_type()
class chord(Signature[R]):
    """Call ``body`` with the list of the results of ``header``, in its order, once all of them have ended::

        chord(add.s(i, i) for i in range(10))(total.s()).get()
        (group(add.s(1, 1), add.s(2, 2)) | total.s()).delay()

    A task of the header that fails makes the body fail with ``ChordError``; the others go on. The result is the
    body's.
    """

    tasks = field("kwargs", "header")
    body = field("kwargs", "body")

    if TYPE_CHECKING:

        @overload
        def __init__(self, header: Any, body: Signature[R], **more: Any) -> None: ...

        @overload
        def __init__(self: chord[Any], header: Any, body: Mapping[str, Any] | None = None, **more: Any) -> None: ...

    def __init__(
        self, header: Any, body: Any = None, task: str = "celery.chord", args: Any = (),
        kwargs: Mapping[str, Any] | None = None, app: Any = None, **options: Any,
    ) -> None:  # fmt: skip
        options["subtask_type"] = "chord"
        own = kwargs if kwargs else {"kwargs": {}}
        parts = {"header": _header(header, app), "body": maybe_signature(body, app=app)}
        super().__init__(task, args, {**own, **parts}, app=app, **options)

    @classmethod
    def from_dict(cls, form: Mapping[str, Any], app: Any = None) -> chord[Any]:
        """Make the chord of its dict."""
        kwargs = dict(form["kwargs"])
        header, body = kwargs.pop("header", None), kwargs.pop("body", None)
        rest = {key: value for key, value in form.items() if key not in ("kwargs", "chord_size")}
        return cls(header, body, app=app, kwargs=kwargs, **rest)

    @overload
    def __call__(self, body: Signature[T], **options: Any) -> AsyncResult[T]: ...

    @overload
    def __call__(self, body: Mapping[str, Any] | None = None, **options: Any) -> AsyncResult[R]: ...

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Send it, with this body."""
        return self.apply_async((), {"body": body} if body else {}, **options)

    def apply_async(  # type: ignore[override]  # as Celery's
        self, args: Any = None, kwargs: Any = None, task_id: str | None = None, route_name: Any = None, **options: Any
    ) -> Any:
        """Send the header, and the body, which waits for it; return the result of the body.

        ``args`` come before those of the header's tasks. ``failure_policy`` says what a task of the header that fails
        does to the body: it fails ``"fail"`` at once (the default), ``"wait"`` when all have ended, or ``"run"`` not
        at all: the list has the exception in the place of its result.
        """
        kwargs = dict(kwargs or {})
        body = maybe_signature(kwargs.pop("body", None) or self.kwargs["body"], app=self._app)
        if body is None:
            raise ValueError("a chord needs a body: chord(header)(body)")
        kwargs = {**self.kwargs.get("kwargs", {}), **kwargs}
        args = (*(args or ()), *self.args) if not self.immutable else self.args
        app = self._app or self._app_of_parts() or body.app
        options = {**self.options, **given(options)}
        own_id = options.pop("task_id", None)
        body = _with_callbacks(body, options)
        if app.conf["task_always_eager"]:
            return self.apply(args, kwargs, body=body, task_id=task_id or own_id, **options)
        with gathered(app, taken(options, HOW)):
            return self._send_parts(app, body, (args, kwargs), (task_id, own_id), options)

    def _send_parts(
        self, app: Any, body: Any, call: tuple[Any, Any], ids: tuple[Any, Any], options: dict[str, Any]
    ) -> Any:
        header, (task_id, own_id) = self.header_group(), ids
        if body.id is None:  # else it is frozen, and the chord has the id of its header
            task_id, own_id = task_id or own_id, None
        id = header.options.get("task_id") or own_id or str(uuid7())
        root_id = options.get("root_id") or body.options.get("root_id")
        of_header = taken(options, ("countdown", "eta", "blockers"))
        policy = taken(options, ("failure_policy",))
        body.options.update({name: value for name, value in options.items() if name != "parent_id"})
        options = {name: value for name, value in options.items() if name not in _OF_BODY}
        leaves = [gathering(leaf) for leaf in header.leaves()]
        body = gathering_body(body)
        result = body.freeze(task_id, group_id=id, root_id=root_id)
        if leaves:
            options = {**options, **of_header, "group_id": id, "chord": named(body), "root_id": root_id}
            header_results = send_members(app, leaves, *call, options)
            awaits = {"barrier": id, "expects": len(leaves)}
            body.apply_async(awaits=awaits, gathers=id, add_to_parent=False, **policy)
        else:
            body.apply_async(([],), **of_header)
            header_results = []
        first, header_result = first_of(result), app.GroupResult(id, header_results)
        first.parent = header_result
        result.follows_success = first is result and {**body.options, **policy}.get("failure_policy") != "run"
        if options.get("add_to_parent", True):
            add_children(header_result, first)
        return result

    def apply(
        self, args: Any = None, kwargs: Any = None, propagate: bool = True, body: Any = None, **options: Any
    ) -> Any:
        """Run the header here, now, then the body; return the result of the body."""
        if body is None:
            body, options = self.body, {**self.options, **given(options)}
        body = _with_callbacks(body, options)
        header = self.header_group().apply(args, kwargs)
        propagate = propagate and options.pop("failure_policy", None) != "run"
        member = next((each for each in header.results if not each.successful()), None) if propagate else None
        if member is None:
            values = header.get(propagate=False, disable_sync_subtasks=False)
            result = body.apply((values,), **options)
        else:
            result = failed(body, ChordError(f"Dependency {member.id} raised {error_of(member)!r}"))
        first_of(result).parent = header
        return result

    def freeze(
        self, _id: str | None = None, group_id: str | None = None, chord: Any = None, root_id: str | None = None,
        parent_id: str | None = None, group_index: int | None = None,
    ) -> Any:  # fmt: skip
        """Fix the ids of header and body, in place, and return the result of the body."""
        header = self.tasks = self.header_group()
        header_result = header.freeze(root_id=root_id, parent_id=parent_id)
        self.id = header.id
        if self.body is None:
            return None
        self.body = gathering_body(self.body)
        result = first = self.body.freeze(_id, root_id=root_id, chord=chord, group_id=group_id, group_index=group_index)
        seen = set()
        while first.parent is not None:
            seen.add(first.id)
            first = first.parent
            if first.id in seen:
                raise RuntimeError("Recursive result parents")
        first.parent = header_result
        return result

    _freeze = freeze

    def clone(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Return a copy, whose body is a copy too."""
        copy = super().clone(args, kwargs, **options)
        copy.kwargs["body"] = maybe_signature(copy.kwargs.get("body"), clone=True)
        return copy

    def header_group(self) -> group[Any]:
        """Return the header as a group."""
        return self.tasks if isinstance(self.tasks, group) else group(self.tasks, app=self._app)

    def unrolled(self) -> list[Any]:
        """Return a copy with the first step of the body alone, and the steps of the body behind it."""
        copy = self.clone()
        if copy.body is None:
            return [copy]
        for option, add in (("link", copy.body.link), ("link_error", copy.body.link_error)):
            for callback in as_list(copy.options.pop(option, None)):
                add(callback)
        body = gathering_body(copy.body)
        if body.subtask_type != "chain" or not body.tasks:
            return [copy]
        first, *rest = body.unchain_tasks()
        of_chain = {name: value for name, value in body.options.items() if name not in _OF_CHAIN}
        copy.body = first.clone(**of_chain)
        return [copy, *rest]

    def link(self, callback: Any) -> Any:
        """Have a task called with the result of the body; return it."""
        self.body.link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Have a task called if the body fails, and so if the header does; return it.

        With the setting ``task_allow_error_cb_on_chord_header`` each task of the header calls it too. Else it is called
        once, also for a header with a chord in it, which fails the body as a task does.
        """
        errback = maybe_signature(errback)
        if self.app.conf.task_allow_error_cb_on_chord_header:
            for task in self.tasks:
                task.link_error(errback.clone(immutable=True))
        self.body.link_error(errback)
        return errback

    def set_immutable(self, immutable: bool) -> None:
        """Set it for the tasks of the header."""
        for task in self.tasks:
            task.set_immutable(immutable)

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> None:
        """Add headers to the tasks of the header, then to the body."""
        asked = (visitor.on_chord_header_start(self, **headers) or {}) if visitor is not None else None
        headers = stamps_of(self, asked, append_stamps, headers)
        stamp_links(self, visitor, append_stamps, headers)
        for task in self.header_group().tasks:
            task.stamp(visitor, append_stamps, **headers)
        if visitor is not None:
            visitor.on_chord_header_end(self, **headers)
        if visitor is not None and self.body is not None:
            asked = visitor.on_chord_body(self, **headers) or {}
            self.body.stamp(visitor, append_stamps, **stamps_of(self, asked, append_stamps, headers))

    def _parts(self) -> Iterable[Any]:
        return [*self.header_group().tasks[:1], self.body]

    def __length_hint__(self) -> int:
        return sum(ends(task) for task in self.header_group().tasks)

    def __repr__(self) -> str:
        if self.body is None:
            return f"<chord without body: {self.tasks!r}>"
        if self.body.subtask_type == "chain" and self.body.tasks:
            first, *rest = self.body.tasks
            return " | ".join([f"%{first.reprcall(self.tasks)}", *map(repr, rest)])
        return f"%{self.body.reprcall(self.tasks)}"


_OF_BODY = frozenset({"chain", "chord", "task_id", "group_id", "group_index"})
"""Options of a chord that belong to its body alone."""


_OF_CHAIN = frozenset({"link", "link_error", "chord", "group_id", "group_index", "parent_id", "root_id", "task_id"})
"""Options of a chain that are not for its first step."""


def gathering(leaf: Any) -> Any:
    """Return a member of a header so that it ends in one task: a chain that ends in a group gives the list of it."""
    if leaf["subtask_type"] is None:
        return leaf
    return composed(leaf, _accumulate(leaf)) if last_of(leaf).subtask_type == "group" else leaf


def gathering_body(body: Any) -> Any:
    """Return a body that begins with one task, which gets the list and hands it on to the group or chord behind it."""
    first = body
    while first.subtask_type == "chain" and first.tasks:
        first = first.tasks[0]
    if first.subtask_type not in ("group", "chord"):
        return body
    errbacks = body.options.get("link_error")
    if body.subtask_type == "group" and len(body.tasks) == 1 and errbacks is not None:
        body = body.clone()  # a chain sends its task alone
        body.tasks = [body.tasks[0].clone(link_error=errbacks)]
    steps = body.unchain_tasks() if body.subtask_type == "chain" else [body]
    made = Signature.TYPES["chain"]([_accumulate(body), *steps], app=body._app)
    made.options.update({name: body.options[name] for name in ("task_id", *_OF_BODY) if name in body.options})
    return made


def _with_callbacks(body: Any, options: dict[str, Any]) -> Any:
    """Return a copy of a body with the callbacks of its chord's options, which are taken out.

    No member of it is that of the given one.
    """
    body = _copied(body)
    for callback in as_list(options.pop("link", None)):
        body.link(callback)
    for errback in as_list(options.pop("link_error", None)):
        _link_error(body, maybe_signature(errback, app=body._app))
    return body


def _copied(part: Any) -> Any:
    part = maybe_signature(part, clone=True)
    if part.subtask_type == "group":
        part.tasks = [_copied(task) for task in part.tasks]
    elif part.subtask_type == "chord" and part.body is not None:
        part.body = _copied(part.body)
    return part


def _link_error(part: Any, errback: Any, *, alone: bool = True) -> None:
    """Add an error callback to each task of a group, and to all else itself.

    Those of a group, which is not in another one, replace those of its tasks when it is sent: it gets this one too.
    """
    if part.subtask_type == "chain" and len(part.tasks) == 2 and part.tasks[0].task == ACCUMULATE:
        part = part.tasks[1]  # it is frozen
    if part.subtask_type != "group" or (alone and part.options.get("link_error") is not None):
        part.append_to_list_option("link_error", errback.clone())
    else:
        for task in part.tasks:
            _link_error(
                task.body if task.subtask_type == "chord" else task, errback, alone=task.subtask_type == "chord"
            )


def _accumulate(part: Any) -> Any:
    return Signature(ACCUMULATE, kwargs={"index": 0}, app=part.app)


def named(body: Any) -> dict[str, Any]:
    """Return the body as its header's tasks know it, ``request.chord``: without arguments and callbacks."""
    while body.subtask_type == "chain":
        body = body.tasks[0]
    return {
        "task": body.task, "args": [], "kwargs": {}, "options": {"task_id": body.id}, "subtask_type": None,
        "immutable": body.immutable,
    }  # fmt: skip


def ends(part: Any) -> int:
    """Count the results that a task of a header gives its chord: those of its last step."""
    match part.subtask_type:
        case "group":
            return sum(map(ends, part.tasks))
        case "chain":
            return next((count for step in reversed(part.tasks) if (count := ends(step))), 0)
        case "chord":
            return ends(part.body)
    return 1


def _header(header: Any, app: Any) -> Any:
    """Return the tasks of a header: of a group or chain its own, of one signature that one."""
    if isinstance(header, Mapping):
        header = signature(header, app=app)
    if isinstance(header, Signature):
        return header.kwargs["tasks"] if header.subtask_type in ("group", "chain") else [header]
    tasks = list(header or ())
    with uncollected(len(tasks)):
        return [signature(task, app=app) for task in tasks]
