"""Chooses the child that calls the handlers of tasks that ended without their process."""

from __future__ import annotations

from collections.abc import Callable

from lavoro.worker.supervisor.children import Children


class HandlersDue:
    """Tells one child that there are such tasks: one that runs tasks, or else the next that is ready.

    The tasks are rows of the database; only a child reads them. They may be there at the start, from an earlier worker,
    and after each rescue, also of a process that was calling handlers. ``told`` is called after a child was told.
    """

    def __init__(self, children: Children, told: Callable[[], object]) -> None:
        self._children, self._told = children, told
        self._due = True

    def call_if_due(self) -> None:
        """Have a child read them, if there may be some; called when a child is ready."""
        if self._due:
            self.call()

    def call(self) -> None:
        """Have a child read them now."""
        staying = (child for child in self._children.ready if not child.life.leaving and child.ending is None)
        self._due = not any(child.pipe.send("handle", worker_id=child.worker_id) for child in staying)
        self._told()
