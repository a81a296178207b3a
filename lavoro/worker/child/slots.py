"""Changes the number of slots of a running child, and tells its supervisor how many there are."""

from __future__ import annotations

from collections.abc import Callable

from lavoro.worker.child.claimer import Claimer
from lavoro.worker.child.offers import Offers
from lavoro.worker.child.pools.base import Pool
from lavoro.worker.scoreboard import Scoreboard


class Slots:
    """The slots of a child of threads or greenlets; those too many leave once their tasks have ended.

    ``tell`` gets the number that is present: in the database, tasks beyond it count as not begun.
    """

    def __init__(
        self, pool: Pool, scoreboard: Scoreboard, offers: Offers, claimer: Claimer, tell: Callable[[int], object]
    ) -> None:
        self._pool, self._scoreboard, self._offers, self._claimer = pool, scoreboard, offers, claimer
        self._tell, self._told = tell, pool.slots

    def resize(self, slots: int) -> None:
        """Have so many from now on."""
        self._scoreboard.resize(slots)  # first: a new slot writes there
        self._pool.resize(slots)
        self._offers.resize(slots)
        self._claimer.wake()

    def check(self) -> None:
        """Tell if the number has changed; to be called several times a second."""
        if (present := max(self._pool.slots, self._pool.present)) != self._told:
            self._told = present
            self._tell(present)
