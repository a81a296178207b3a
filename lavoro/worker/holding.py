"""The tasks this child holds: claimed, and their outcome not stored yet."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable

from lavoro.message import Job


class Holding:
    """What is held, by id; ``released`` counts what was let go since the start."""

    def __init__(self) -> None:
        self._jobs: dict[uuid.UUID, Job] = {}
        self.released = 0
        self.empty = threading.Event()
        self.empty.set()

    @property
    def count(self) -> int:
        """How many tasks are held."""
        return len(self._jobs)

    def add(self, jobs: Iterable[Job]) -> None:
        """Hold tasks."""
        self._jobs.update((job.id, job) for job in jobs)
        if self._jobs:
            self.empty.clear()

    def release(self, ids: Iterable[uuid.UUID]) -> None:
        """Let go of tasks whose outcome is stored or refused."""
        for id in ids:
            if self._jobs.pop(id, None) is not None:
                self.released += 1
        if not self._jobs:
            self.empty.set()

    def ids(self) -> list[uuid.UUID]:
        """The ids of all."""
        return list(self._jobs)

    def jobs(self) -> list[Job]:
        """All of them."""
        return list(self._jobs.values())
