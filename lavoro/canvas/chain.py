"""``chain``: tasks one after the other, each called with the result of the one before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from lavoro.calling.outbox import HOW, gathered
from lavoro.canvas.composing import folded, is_empty_group, unrolled
from lavoro.canvas.failing import first_of, never
from lavoro.canvas.kinds import register_type, shown
from lavoro.canvas.signature import R, Signature, as_list, field, given, maybe_signature, of_tasks, taken
from lavoro.canvas.stamping import stamp_links, stamps_of
from lavoro.states import IGNORED, REJECTED


@register_type("chain")
class Chain(Signature[R]):
    """The steps of a chain; ``chain(...)`` makes one."""

    tasks = field("kwargs", "tasks")

    def __init__(self, *tasks: Any, **options: Any) -> None:
        given = tasks[0] if len(tasks) == 1 and _is_iterable(tasks[0]) else tasks
        super().__init__("celery.chain", (), {"tasks": list(given)}, subtask_type="chain", **options)

    @classmethod
    def from_dict(cls, form: Mapping[str, Any], app: Any = None) -> Chain[Any]:
        """Make the chain of its dict."""
        return of_tasks(cls, form, app)  # type: ignore[no-any-return]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Send it; nothing for a chain without steps."""
        return self.apply_async(args, kwargs) if self.tasks else None

    def clone(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Return a copy, whose steps are copies too."""
        copy = super().clone(args, kwargs, **options)
        copy.kwargs["tasks"] = [maybe_signature(task, app=self._app, clone=True) for task in copy.kwargs["tasks"]]
        return copy

    def unchain_tasks(self) -> list[Any]:
        """Return copies of the steps: the last with the chain's callbacks, each with its error callbacks."""
        steps = [task.clone() for task in self.tasks]
        for callback in as_list(self.options.get("link")) if steps else ():
            steps[-1].link(callback)
        for errback in as_list(self.options.get("link_error")):
            for step in steps:
                step.link_error(errback)
        return steps

    def apply_async(self, args: Any = None, kwargs: Any = None, route_name: Any = None, **options: Any) -> Any:
        """Send it: one message for the first step, which holds the others; return the result of the last."""
        app = self.app
        if app.conf["task_always_eager"]:
            return self.apply(args, kwargs, **options)
        options = {**self.options, **given(options)}
        with gathered(app, taken(options, HOW)):
            return self._send_steps((*(args or ()), *self.args) if not self.immutable else self.args, kwargs, options)

    def _send_steps(self, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
        steps = self.steps()
        if not steps:
            return None
        if args or kwargs:
            steps[0] = steps[0].clone(args, kwargs)
        links, errbacks = as_list(options.pop("link", None)), options.pop("link_error", None)
        results = frozen(steps, root_id=options.get("root_id"), **taken(options, _OF_LAST))
        _add_errbacks(steps, errbacks)
        for callback in links:
            steps[-1].append_to_list_option("link", callback)
        if rest := [*options.pop("chain", ()), *steps[:0:-1]]:
            options["chain"] = rest
        sent = steps[0].apply_async(**options)
        return results[-1] if len(steps) > 1 else sent

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Run it here, now, one step after the other; return the result of the last."""
        last, given_now = None, (args or (), kwargs or {})
        options = {**self.options, **given(options)}
        links, of_last = as_list(options.pop("link", None)), taken(options, _OF_LAST)
        steps = self._with_chords([maybe_signature(step, app=self._app, clone=True) for step in self.tasks])
        _add_errbacks(steps, options.pop("link_error", None))
        for step in steps:
            if step is steps[-1]:
                target = step.body if step.subtask_type == "chord" else step
                target.extend_list_option("link", links) if links else None
                options.update(of_last)
            if last is not None:
                try:
                    given_now = (last.get(disable_sync_subtasks=False),), {}
                except Exception as error:
                    return never(steps[-1], last, error)
            result = step.apply(*given_now, **options)
            first_of(result).parent, last = last, result
            if getattr(result, "state", None) in (IGNORED, REJECTED):
                break
        return last

    def freeze(
        self, _id: str | None = None, group_id: str | None = None, chord: Any = None, root_id: str | None = None,
        parent_id: str | None = None, group_index: int | None = None,
    ) -> Any:  # fmt: skip
        """Fix the ids of the steps, in place, and return the result of the last."""
        self.tasks = steps = self.steps()
        if steps and self.args:
            steps[0] = steps[0].clone(self.args)
            self["args"] = ()
        results = frozen(steps, root_id=root_id, task_id=_id, group_id=group_id, chord=chord, group_index=group_index)
        self.id = results[-1].id if results else _id
        return results[-1] if results else None

    _freeze = freeze

    def steps(self) -> list[Any]:
        """Return copies of what is sent one after the other: tasks, chords, and perhaps a group at the end."""
        return self._with_chords(list(_spliced(self.tasks, self.app)))

    def _with_chords(self, steps: list[Any]) -> list[Any]:
        """Return the steps without empty groups; a group and what follows it are a chord."""
        last_empty = steps[-1:] if steps and is_empty_group(steps[-1]) else []
        found: deque[Any] = deque()
        for each in reversed([kept for kept in steps if not is_empty_group(kept)]):
            if found and each.subtask_type == "group":
                found.appendleft(Signature.TYPES["chord"](each, body=found.popleft(), app=self._app))
            else:
                found.appendleft(each)
        return list(found) or last_empty

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> None:
        """Add headers to each step."""
        asked = (visitor.on_chain_start(self, **headers) or {}) if visitor is not None else None
        headers = stamps_of(self, asked, append_stamps, headers)
        stamp_links(self, visitor, False, headers)
        for task in self.tasks:
            task.stamp(visitor, append_stamps, **headers)
        if visitor is not None:
            visitor.on_chain_end(self, **headers)

    def _parts(self) -> Iterable[Any]:
        return list(islice(self.tasks, 2))

    def __repr__(self) -> str:
        return shown(self.tasks, " | ") if self.tasks else f"<{type(self).__name__}: empty>"


class chain(Chain[R]):
    """Chain tasks: each is called with the result of the one before; the chain's result is that of the last.

    A group that another step follows becomes a chord with it, and so ``chain(group, task)`` is a chord::

        chain(add.s(2, 3), add.s(4))().get()     # 9
        (add.s(2, 3) | add.s(4)).delay()
    """

    def __new__(cls, *tasks: Any, **options: Any) -> Any:
        if options or not tasks or (len(tasks) == 1 and not _is_iterable(tasks[0])):
            return super().__new__(cls)
        made = folded(map(_step, tasks[0] if len(tasks) == 1 else tasks))
        if cls is not chain and isinstance(made, Chain) and not isinstance(made, cls):
            own = super().__new__(cls)
            own.__init__(made.tasks, app=made._app)  # type: ignore[misc]
            return own
        return made


_OF_LAST = ("task_id", "group_id", "chord", "group_index")
"""Options of a chain that are those of its last step."""


def _add_errbacks(steps: Iterable[Any], errbacks: Any) -> None:
    """Have error callbacks of a chain called by whichever step fails."""
    for step in steps:
        for errback in as_list(errbacks):
            step.append_to_list_option("link_error", errback)
            if step.subtask_type == "chord":
                step.body.append_to_list_option("link_error", errback)


def frozen(
    steps: Sequence[Any], *, root_id: str | None, task_id: str | None = None, **of_last: Any
) -> list[Any]:  # fmt: skip
    """Fix the ids of steps, and return their results: each has that of the one before as its parent."""
    results: list[Any] = []
    for step in steps:
        last = {"_id": task_id, **of_last} if step is steps[-1] else {}
        result = step.freeze(root_id=root_id, **last)
        if results:
            first_of(result).parent = results[-1]
        results.append(result)
    return results


def _step(given: Any) -> Any:
    if isinstance(given, Signature):
        return given
    if isinstance(given, Mapping):
        return Signature.from_dict(given)
    raise TypeError(f"a chain is made of signatures, not of {given!r:.80}")


def _is_iterable(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (Mapping, str))


def _spliced(tasks: Iterable[Any], app: Any) -> Iterator[Any]:
    """Yield copies of the steps, those of inner chains and bodies in their place, a group of one as its member."""
    for task in tasks:
        step = unrolled(maybe_signature(task, app=app, clone=True))
        if step.subtask_type == "chain":
            yield from _spliced(step.unchain_tasks(), app)
        elif step.subtask_type == "chord" and len(parts := step.unrolled()) > 1:
            yield parts[0]
            yield from _spliced(parts[1:], app)
        else:
            yield step
