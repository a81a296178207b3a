"""The revoked ids and stamps, as Celery's `celery.worker.state` has them: rows, which all workers share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableSet
from typing import Any

from lavoro.runtime import current_app
from lavoro.store import commands, stamps


class Revoked(MutableSet[str]):
    """The ids of the current application that must not start."""

    def __contains__(self, id: object) -> bool:
        return id in self._ids()

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids())

    def __len__(self) -> int:
        return len(self._ids())

    def add(self, value: str) -> None:
        """Revoke a task."""
        current_app.get().revoke(value)

    def discard(self, value: str) -> None:
        """Let a task start that was revoked, if it has not ended yet."""
        with current_app.get().database.tx() as tx:
            commands.allow(tx, value)

    def _ids(self) -> list[str]:
        with current_app.get().database.tx() as tx:
            return commands.revoked(tx)


class RevokedStamps(Mapping[str, list[Any]]):
    """The stamps of the current application whose tasks must not start: lists of values by the names of stamps."""

    def __getitem__(self, header: str) -> list[Any]:
        return self._all()[header]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def clear(self) -> None:
        """Let tasks with these stamps start again."""
        with current_app.get().database.tx() as tx:
            stamps.forget(tx)

    def _all(self) -> dict[str, list[Any]]:
        with current_app.get().database.tx() as tx:
            return stamps.remembered(tx)


revoked, revoked_stamps = Revoked(), RevokedStamps()
