"""A duty for functions of the supervisor that need the database once, as soon as that is possible."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from lavoro.store.tx import Tx
from lavoro.worker.supervisor.duty import Duty


class Errands(Duty):
    """Functions for the upkeep's connection; each is repeated until it comes back, then the next one follows."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: deque[Callable[[Tx], object]] = deque()

    def add(self, call: Callable[[Tx], object]) -> None:
        """Have a function called in the upkeep's thread; for other threads."""
        self._calls.append(call)

    @property
    def pending(self) -> bool:
        """Whether one is left."""
        return bool(self._calls)

    def run(self, tx: Tx) -> None:
        """Call them in their order."""
        self.attempt(tx, "to do what its supervisor asked for", self._call)

    def _call(self, tx: Tx) -> None:
        while self._calls:
            self._calls[0](tx)
            self._calls.popleft()
