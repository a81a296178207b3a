"""Shows limits, and changes them while workers run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

from lavoro.exceptions import LimitNotFound
from lavoro.keys import Limit, Rate
from lavoro.store import limits
from lavoro.store.limits import Holder, LimitInfo, Terms


class Limits:
    """The limits in an application's database, by their keys; those that no task has used yet are unknown.

    A change is in effect with its commit: the next claim of any worker counts by it::

        app.limits.set("smtp", rate=5, per=1)
        app.limits.pause("tenant:5", seconds=600)
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    def __iter__(self) -> Iterator[LimitInfo]:
        return iter(limits.listed(self._app.database))

    def __getitem__(self, key: str) -> LimitInfo:
        found = limits.listed(self._app.database, [key])
        if not found:
            raise _unknown(key)
        return found[0]

    def holders(self, key: str) -> list[Holder]:
        """Return up to 100 running tasks that a limit counts, the longest first."""
        return limits.holders(self._app.database, key)

    def set(
        self, key: str, *, running: int | None = None, rate: int | None = None,
        per: float | dt.timedelta = 1, burst: int | None = None,
    ) -> None:  # fmt: skip
        """Give a limit terms that calls do not change any more; what is left out is not limited.

        Raises ``ValueError`` for numbers that cannot be terms.
        """
        terms: dict[str, Any] = {}
        if running is not None:
            terms |= Limit(key, running)
        if rate is not None:
            terms |= Rate(key, rate, per, burst)
        terms.pop("key", None)
        limits.fix(self._app.database, key, Terms(**terms))

    def reset(self, key: str) -> None:
        """Let the next call give a limit its terms again."""
        if not limits.unfix(self._app.database, key):
            self[key]  # raises if there is none

    def pause(self, *keys: str, until: dt.datetime | None = None, seconds: float | dt.timedelta | None = None) -> None:
        """Let no task of these limits start until a time, for so many seconds, or until they are resumed."""
        if isinstance(seconds, dt.timedelta):
            seconds = seconds.total_seconds()
        self._check(keys, limits.pause(self._app.database, keys, until=until, seconds=seconds))

    def resume(self, *keys: str) -> None:
        """Let the tasks of these limits start again."""
        self._check(keys, limits.resume(self._app.database, keys))

    def release(self, key: str) -> int:
        """Count the running tasks of a limit anew, and free those that it holds; return the number that run.

        Workers do so every ten minutes. It gives back slots that were lost by changes of the tables by hand.
        """
        with self._app.database.tx() as tx:
            limits.recount(tx, key)
        return self[key].taken or 0

    def _check(self, keys: tuple[str, ...], found: list[str]) -> None:
        if missing := [key for key in keys if key not in found]:
            raise _unknown(missing[0])


def _unknown(key: str) -> LimitNotFound:
    return LimitNotFound(f"there is no limit {key!r}: no task that it counts has come to a worker yet")
