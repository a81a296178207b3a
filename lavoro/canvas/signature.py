"""``Signature``: a call that is not made yet, as a dict that travels as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSequence
from copy import deepcopy
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lavoro.calling.members import Members
from lavoro.canvas import kinds
from lavoro.canvas.composing import composed
from lavoro.canvas.stamping import stamp_links, stamps_of
from lavoro.protocol.ids import uuid7
from lavoro.runtime import current_app
from lavoro.text.printable import described

if TYPE_CHECKING:
    from lavoro.result import AsyncResult

R = TypeVar("R", covariant=True)
S = TypeVar("S", bound="Signature[Any]")
T = TypeVar("T")

_FIXED = frozenset({"group_id", "stamped_headers"})
"""Options that a call does not change: another value would leave the parent of the task waiting."""


def field(*path: str) -> Any:
    """Return a property of the value at a path of keys; None where an option is not set."""

    first = itemgetter(path[0])

    def read(self: Signature[Any]) -> Any:
        return first(self).get(path[1])

    def write(self: Signature[Any], value: Any) -> None:
        place: Any = self
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = value

    return property(read if len(path) > 1 else first, write)


class Signature(dict[str, Any], Generic[R]):
    """A task with arguments and options, to be called later, passed on, or made part of a chain, group or chord.

    ``add.s(2, 3)`` makes one. Arguments of the later call come before its own::

        add.s(3).delay(2).get()              # 5
        (add.s(2, 3) | add.s(4)).delay()     # a chain
        signature("shop.add", args=(2, 3))   # by name, where the task is not imported
    """

    TYPES = kinds.TYPES
    register_type = staticmethod(kinds.register_type)

    task: str
    args: Any
    kwargs: dict[str, Any]
    options: dict[str, Any]
    subtask_type: str | None
    immutable: bool
    id: str | None
    parent_id: str | None
    root_id: str | None

    _app: Any = None
    _type: Any = None

    def __init__(
        self, task: Any = None, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None, type: Any = None, subtask_type: str | None = None,
        immutable: bool = False, app: Any = None, **more: Any,
    ) -> None:  # fmt: skip
        self._app = app
        if not isinstance(task, str) and isinstance(task, Mapping):
            super().__init__(
                {"args": (), "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False, **task}
            )
            return
        if not isinstance(task, str) and hasattr(task, "name"):
            self._type, task = task, task.name
        super().__init__(
            task=task, args=tuple(args or ()), kwargs=kwargs or {}, options={**(options or {}), **more},
            subtask_type=subtask_type, immutable=immutable,
        )  # fmt: skip

    @classmethod
    def from_dict(cls, form: Mapping[str, Any], app: Any = None) -> Signature[Any]:
        """Make a signature of its dict; raises ``ValueError`` for a dict that is none."""
        target = kinds.class_of(form)
        if target is not None and target is not cls:
            return target.from_dict(form, app=app)  # type: ignore[no-any-return]
        return Signature(form, app=app)

    # Calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the task's function here, now."""
        args, kwargs, _ = self._merged(args, kwargs, None)
        return self.type(*args, **kwargs)

    def delay(self, *args: Any, **kwargs: Any) -> AsyncResult[R]:
        """Send the task, with these arguments before its own."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None,
        route_name: str | None = None, **options: Any,
    ) -> AsyncResult[R]:  # fmt: skip
        """Send the task with these arguments before its own, and these options over its own; None leaves an option."""
        if route_name is not None:
            options["route_name"] = route_name
        args, kwargs, merged = self._merged(args, kwargs, given(options))
        if self.immutable:
            merged.pop("gathers", None)
        return self._send(args, kwargs, **merged)  # type: ignore[no-any-return]

    def apply(self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run the task here, now, as eager mode does; return its ``EagerResult``."""
        args, kwargs, merged = self._merged(args, kwargs, given(options))
        return self.type.apply(args, kwargs, **merged)

    def __invert__(self) -> Any:
        """Send it and wait for the value."""
        return self.apply_async().get()

    def added_to(self, plain: Members, args: Any, kwargs: Any, index: int) -> Any:
        """Add the call to the plain members of a group, and return its result; None if it is none of these."""
        task = self._type or self.app.tasks.get(self["task"])
        if task is None or self["subtask_type"] is not None:
            return None
        own, named = self["args"], self["kwargs"]
        if not self["immutable"]:
            own, named = (*args, *own) if args else own, {**named, **kwargs} if kwargs else named
        return plain.add(task, own, named, self["options"], index)

    @property
    def _send(self) -> Callable[..., Any]:
        try:
            return self.type.apply_async  # type: ignore[no-any-return]
        except KeyError:  # the task is not registered here
            return lambda args, kwargs, **options: self.app.send_task(self["task"], args, kwargs, **options)

    # Copies

    def _merged(
        self, args: Iterable[Any] | None, kwargs: Mapping[str, Any] | None, options: Mapping[str, Any] | None,
        *, force: bool = False,
    ) -> tuple[Any, Any, dict[str, Any]]:  # fmt: skip
        """Return the arguments and options of a call with those that are given; ``force`` also where immutable."""
        own = self.options
        if not options:
            merged = {**own}
        else:
            fixed = _FIXED.union(own.get("stamped_headers") or ())
            merged = {**own, **{k: v for k, v in options.items() if k not in fixed or k not in own}}
        if self.immutable and not force:
            return self.args, self.kwargs, merged
        return (
            (*args, *self.args) if args else self.args, {**self.kwargs, **kwargs} if kwargs else self.kwargs, merged
        )  # fmt: skip

    def clone(self: S, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> S:
        """Return a copy, with these arguments before its own, and these options over its own."""
        if args or kwargs or options:
            args, kwargs, merged = self._merged(args, kwargs, options)
        else:
            args, kwargs, merged = self["args"], self["kwargs"], self["options"]
        form = {**self, "args": tuple(args), "kwargs": {**kwargs}, "options": deepcopy(merged) if merged else {}}
        if type(self) is Signature and not form["subtask_type"]:
            copy = Signature.__new__(Signature)  # by the thousand, in headers
            copy.update(form)
            copy._app = self._app
        else:
            copy = Signature.from_dict(form, app=self._app)
        copy._type = self._type
        return copy  # type: ignore[return-value]

    partial = clone

    def replace(
        self: S, args: Any = None, kwargs: dict[str, Any] | None = None, options: dict[str, Any] | None = None
    ) -> S:
        """Return a copy with other arguments or options; None leaves them."""
        copy = self.clone()
        for name, value in (("args", args), ("kwargs", kwargs), ("options", options)):
            if value is not None:
                copy[name] = value
        return copy

    def set(self: S, immutable: bool | None = None, **options: Any) -> S:
        """Set options, in place; return the signature."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Set whether arguments of a later call are left out."""
        self.immutable = immutable

    def freeze(
        self, _id: str | None = None, group_id: str | None = None, chord: Any = None, root_id: str | None = None,
        parent_id: str | None = None, group_index: int | None = None,
    ) -> Any:  # fmt: skip
        """Fix the id of the task, in place, and return its result; a frozen signature is sent once."""
        options = self.options
        options.setdefault("task_id", _id or str(uuid7()))
        if group_id:
            options.setdefault("group_id", group_id)
        for name, value in (("root_id", root_id), ("parent_id", parent_id), ("chord", chord)):
            if value:
                options[name] = value
        if group_index is not None:
            options["group_index"] = group_index
        return self.AsyncResult(options["task_id"])

    _freeze = freeze

    # Callbacks

    def link(self, callback: Any) -> Any:
        """Have a task called with the result; return it."""
        return self.append_to_list_option("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Have a task called if this one fails; return it."""
        return self.append_to_list_option("link_error", errback)

    def on_error(self: S, errback: Any) -> S:
        """Have a task called if this one fails; return this one."""
        self.link_error(errback)
        return self

    def append_to_list_option(self, key: str, value: Any) -> Any:
        """Add a value to the list of an option, once; return it."""
        items = self._list_option(key)
        if value not in items:
            items.append(value)
        return value

    def extend_list_option(self, key: str, values: Any) -> None:
        """Add values to the list of an option."""
        self._list_option(key).extend(as_list(values))

    def _list_option(self, key: str) -> Any:
        items = self.options.setdefault(key, [])
        if not isinstance(items, MutableSequence):
            items = self.options[key] = [items]
        return items

    def flatten_links(self) -> list[Signature[Any]]:
        """Return this signature and all that its callbacks lead to."""
        return [self, *(each for link in as_list(self.options.get("link")) for each in link.flatten_links())]

    # Stamps

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> Any:
        """Add headers to the task and to its callbacks; ``visitor`` is asked for those of each signature."""
        stamp_links(self, visitor, append_stamps, headers)
        asked = (visitor.on_signature(self, **headers) or {}) if visitor is not None else None
        return self.set(**stamps_of(self, asked, append_stamps, headers))

    def stamp_links(self, visitor: Any, append_stamps: bool = False, **headers: Any) -> None:
        """Add headers to the callbacks alone."""
        stamp_links(self, visitor, append_stamps, headers)

    # Joining

    def __or__(self, other: Signature[T]) -> Signature[T]:  # type: ignore[override]
        """Chain the two: ``a | b`` calls ``b`` with the result of ``a``."""
        return composed(self, other) if isinstance(other, Signature) else NotImplemented  # type: ignore[no-any-return,redundant-expr]

    def __ior__(self, other: Signature[T]) -> Signature[T]:  # type: ignore[override]
        return self.__or__(other)

    if TYPE_CHECKING:  # else mypy takes dict's

        def __ror__(self: S, other: Signature[Any]) -> S: ...  # type: ignore[override]

    # Its attributes

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task

    @property
    def app(self) -> Any:
        """The application: its own, else that of the first of its parts that has one, else the current one."""
        found = self._app if self._app is not None else self._app_of_parts()
        return found if found is not None else current_app.get()

    def _app_of_parts(self) -> Any:
        """Return the application of the first task inside of this canvas that has one."""
        left = [*islice(self._parts(), 2)][::-1]
        while left:
            part = left.pop()
            if isinstance(part, Signature):
                if part._app is not None:
                    return part._app
                left += [*islice(part._parts(), 2)][::-1]
        return None

    def _parts(self) -> Iterable[Any]:
        """Return the signatures that it is made of, those that are sent first before the others."""
        return ()

    @property
    def type(self) -> Any:
        """The task; raises ``NotRegistered`` for one that is not registered here."""
        return self._type or self.app.tasks[self["task"]]

    @property
    def AsyncResult(self) -> Callable[..., Any]:
        """The class of its results."""
        return self.app.AsyncResult  # type: ignore[no-any-return]

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """Return the call as text, with these arguments before its own."""
        args, kwargs, _ = self._merged(args, kwargs, None, force=True)
        shown = [described(value) for value in args] + [f"{name}={described(value)}" for name, value in kwargs.items()]
        return f"{self['task']}({', '.join(shown)})"

    def __repr__(self) -> str:
        return self.reprcall()

    def __reduce__(self) -> Any:
        return signature, (dict(self),)

    def __json__(self) -> Any:
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        copy = dict(self)
        memo[id(self)] = copy
        copy["options"] = deepcopy(self.options, memo)
        return copy


for _name in ("task", "args", "kwargs", "options", "subtask_type", "immutable"):
    setattr(Signature, _name, field(_name))
for _name, _option in (("id", "task_id"), ("parent_id", "parent_id"), ("root_id", "root_id")):
    setattr(Signature, _name, field("options", _option))


def signature(varies: Any, *args: Any, **options: Any) -> Signature[Any]:
    """Return a signature: of a task or its name, of a dict, or a copy of another signature."""
    if isinstance(varies, Signature):
        return varies.clone()
    if isinstance(varies, Mapping):
        return Signature.from_dict(varies, app=options.get("app"))
    return Signature(varies, *args, **options)


def maybe_signature(form: Any, app: Any = None, clone: bool = False) -> Any:
    """Return the signature of a dict, and all else as it is; ``clone`` copies a signature."""
    if isinstance(form, Signature):
        form = form.clone() if clone else form
    elif isinstance(form, Mapping):
        form = Signature.from_dict(form, app=app)
    if form is not None and app is not None:
        form._app = app
    return form


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without those that are None."""
    return {name: value for name, value in options.items() if value is not None}


def taken(options: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Take options of these names out of a dict."""
    return {name: options.pop(name) for name in tuple(names) if name in options}


def of_tasks(cls: Any, form: Mapping[str, Any], app: Any) -> Any:
    """Make the chain or group of its dict, whose tasks become signatures in place."""
    form["kwargs"]["tasks"] = tasks = [maybe_signature(task, app=app) for task in form["kwargs"]["tasks"]]
    made = cls(tasks, app=app, **form.get("options", {}))
    made.update(args=form.get("args", ()), immutable=form.get("immutable", False))
    return made


def as_list(value: Any) -> list[Any]:
    """Return a list: of the one value, or of none."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple, set, Iterator)) else [value]
