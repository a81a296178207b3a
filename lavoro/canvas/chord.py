"""``chord``: a group, and a task that is called with the list of its results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lavoro.canvas.group import group
from lavoro.canvas.kinds import register_type
from lavoro.canvas.signature import R, Signature, field, maybe_signature, signature
from lavoro.canvas.stamping import stamp_links, stamps_of


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

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Send it, with this body."""
        return self.apply_async((), {"body": body} if body else {}, **options)

    def clone(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Return a copy, whose body is a copy too."""
        copy = super().clone(args, kwargs, **options)
        copy.kwargs["body"] = maybe_signature(copy.kwargs.get("body"), clone=True)
        return copy

    def header_group(self) -> group[Any]:
        """Return the header as a group."""
        return self.tasks if isinstance(self.tasks, group) else group(self.tasks, app=self._app)

    def link(self, callback: Any) -> Any:
        """Have a task called with the result of the body; return it."""
        self.body.link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Have a task called if the body fails, and so if the header does; return it.

        With the setting ``task_allow_error_cb_on_chord_header`` each task of the header calls it too.
        """
        errback = maybe_signature(errback)
        for task in self.tasks:
            if self.app.conf.task_allow_error_cb_on_chord_header:
                task.link_error(errback.clone(immutable=True))
            if isinstance(task, chord):
                task.link_error(errback)
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

    @property
    def app(self) -> Any:
        """The application: its own, else that of the header's first task, or of the body."""
        if self._app is not None:
            return self._app
        parts = [*self.header_group().tasks[:1], self.body]
        return next((part.app for part in parts if isinstance(part, Signature) and part._app is not None), super().app)

    def __length_hint__(self) -> int:
        return sum(ends(task) for task in self.header_group().tasks)

    def __repr__(self) -> str:
        if self.body is None:
            return f"<chord without body: {self.tasks!r}>"
        if self.body.subtask_type == "chain" and self.body.tasks:
            first, *rest = self.body.tasks
            return " | ".join([f"%{first.reprcall(self.tasks)}", *map(repr, rest)])
        return f"%{self.body.reprcall(self.tasks)}"


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
    return [signature(task, app=app) for task in header or ()]
