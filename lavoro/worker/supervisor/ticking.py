"""Chooses the child that runs the schedules, and passes on that they have changed."""

from __future__ import annotations

from lavoro.worker.supervisor.children import Children
from lavoro.worker.supervisor.process import ChildProcess


class Ticking:
    """Has one child of the node send the tasks of schedules; the next one when it leaves.

    The first one after a start or a reload also stores the entries of the application's code.
    """

    def __init__(self, children: Children, *, runs: bool) -> None:
        self._children, self.runs = children, runs
        self._child: ChildProcess | None = None
        self._defined = False

    def choose(self) -> None:
        """Choose a child unless one runs them; called when a child is ready, leaves, or is gone."""
        if not self.runs or (self._child is not None and self._stays(self._child)):
            return
        self._child = next((child for child in self._children.ready if self._stays(child)), None)
        if self._child is not None and self._child.pipe.send("tick", define=not self._defined):
            self._defined = True

    def define_again(self) -> None:
        """Have the next child store the entries: the application's code is loaded anew."""
        self._defined, self._child = False, None

    def changed(self) -> None:
        """Tell the child that schedules have changed; in any thread."""
        if (child := self._child) is not None:
            child.pipe.try_send("schedules")

    def _stays(self, child: ChildProcess) -> bool:
        return child in self._children.ready and not child.life.leaving and child.ending is None
