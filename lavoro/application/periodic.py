"""Periodic tasks as code defines them: they become entries of the setting ``beat_schedule``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lavoro.beat.api import Schedules
from lavoro.canvas.signature import Signature
from lavoro.config.settings import Settings
from lavoro.schedules.entry import RULES, entry_of
from lavoro.surface.application import Surface


class AppSettings(Settings):
    """The settings of an application, with the entries that its code has added."""

    def __init__(self, app: Periodic, *, pending: Iterable[Callable[[], dict[str, Any]]] = ()) -> None:
        self._app = app
        super().__init__(pending=pending)

    def _complete(self) -> None:
        self._app.settle_periodic()


class Periodic(Surface):
    """The part of an application that defines periodic tasks."""

    task: Any

    def add_periodic_task(
        self, schedule: Any, sig: Any, args: Sequence[Any] = (), kwargs: Any = (),
        name: str | None = None, **opts: Any,
    ) -> str:  # fmt: skip
        """Add an entry for a task or a signature; return its name, which is by default that of the call.

        ``schedule`` is a schedule, seconds, a timedelta or a text; ``opts`` are options of the call, and rules of the
        entry such as ``overlap="allow"``. Raises ``ValueError`` for another entry of that name::

            app.add_periodic_task(crontab(minute=0), report.s("sales"), name="sales report", queue="slow")
        """
        kwargs = dict(kwargs or {})
        if not hasattr(sig, "s") and not isinstance(sig, Signature):
            raise AttributeError(f"a periodic task is a task or a signature, not {sig!r}: write add.s(2, 3)")
        sig = sig.clone(args, kwargs) if isinstance(sig, Signature) else sig.s(*args, **kwargs)
        rules = {key: opts.pop(key) for key in RULES if key in opts}
        entry = {
            "schedule": schedule, "task": sig.task, "args": tuple(sig.args), "kwargs": dict(sig.kwargs),
            "options": {**sig.options, **opts}, **rules,
        }  # fmt: skip
        key = name or repr(sig)
        added: dict[str, Any] = self._entries_added
        if name is None and _differs(added.get(key), entry):
            key = f"{key} {schedule!r}"
        if _differs(added.get(key), entry):
            raise ValueError(f"there are two schedules of the name {key!r}: give each its own (name=...)")
        entry_of(key, entry, self)  # raises for a wrong one, here, where the caller's line is seen
        added[key] = entry
        if self.configured:
            self.settle_periodic()
        return key

    def periodic(
        self, schedule: Any, *, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None,
        name: str | None = None, **opts: Any,
    ) -> Callable[[Any], Any]:  # fmt: skip
        """Send a task again and again: a decorator, above that of the task, or of a plain function::

        @app.periodic(crontab(hour=3, minute=0), missed="skip")
        @app.task
        def clean_up() -> None: ...

        Several may be stacked. Options are those of ``add_periodic_task``; the name is by default that of the task.
        """

        if inspect.isroutine(schedule) or hasattr(schedule, "apply_async"):
            raise TypeError('`@app.periodic` needs a schedule: write @app.periodic("@hourly")')

        def add(task: Any) -> Any:
            made = task if hasattr(task, "apply_async") else self.task(task)
            given = name
            if given is None and made.name not in self._entries_added and not (args or kwargs):
                given = made.name
            self.add_periodic_task(schedule, made, args, kwargs, name=given, **opts)
            return made

        return add

    @property
    def _entries_added(self) -> dict[str, Any]:
        return self._once("entries", dict)  # type: ignore[no-any-return]

    def settle_periodic(self) -> None:
        """Put the entries into the settings, once these are read."""
        if self._entries_added:
            self.conf.beat_schedule.update(self._entries_added)

    @property
    def schedules(self) -> Schedules:
        """The schedules in the database: to create, change, pause, run and list them."""
        return self._once("schedules", lambda: Schedules(self))  # type: ignore[no-any-return]


def _differs(former: Mapping[str, Any] | None, entry: Mapping[str, Any]) -> bool:
    """Whether there is a former entry that is another: a module may be imported again."""
    return former is not None and former != entry
