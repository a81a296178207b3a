"""Keeps a child from claiming: while its supervisor has it rest, and beyond the worker's quota."""

from __future__ import annotations

from collections.abc import Callable

from lavoro.worker.child.in_flight import InFlight
from lavoro.worker.quota import Quota


class Restraint:
    """The last order to rest, by its number, and the quota of the worker; without both a child claims as it likes.

    ``tell`` gets the number of each order when the child claims no more, and once nothing is in flight: whether that is
    so comes with it. From then on the child changes nothing in the database until the order is withdrawn.
    """

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight
        self._order: int | None = None
        self._told = (-1, False)
        self.quota: Quota | None = None
        self.tell: Callable[[int, bool], object] = lambda order, done: None
        self.busy: Callable[[], bool] = lambda: False
        """Whether something beside the tasks may send more: handlers, and a first look at the schedules."""

    def rest(self, order: int | None) -> None:
        """Take an order in; None: claim again."""
        self._order = order

    @property
    def resting(self) -> bool:
        """Whether no task may be claimed now."""
        return self._order is not None

    def room(self, room: int, *, waiting: int) -> int:
        """Limit a number of tasks to claim; ``waiting`` of those that were claimed have not started."""
        if self.resting:
            return 0
        return room if self.quota is None else min(room, self.quota.left - waiting)

    def obeyed(self) -> None:
        """Tell the supervisor that the child rests; only after the last claim, and without open offers."""
        order, done = self._order, not self._in_flight.count and not self.busy()
        if order is not None and self._told not in ((order, done), (order, True)):
            self._told = (order, done)
            self.tell(order, done)
