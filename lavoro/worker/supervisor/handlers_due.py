"""Chooses the child that calls the handlers of tasks that ended without their process."""

from __future__ import annotations

from lavoro.worker.supervisor.children import Children


class HandlersDue:
    """Tells one child that there are such tasks: one that works, or else the next that is ready.

    They stand in the database. Here is only known whether somebody should look: from the start on, for an earlier
    worker may have left some, and after each rescue, also of a process that was calling handlers.
    """

    def __init__(self, children: Children) -> None:
        self._children = children
        self._due = True

    def look(self) -> None:
        """A child is ready: have it look, if somebody should."""
        if self._due:
            self.call()

    def call(self) -> None:
        """Have a child look now."""
        staying = (child for child in self._children.ready if not child.life.leaving and child.ending is None)
        self._due = not any(child.pipe.send("handle", worker_id=child.worker_id) for child in staying)
