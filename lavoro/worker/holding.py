"""The tasks this child holds: claimed, and their outcome not stored yet."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from lavoro.message import Job


class Holding:
    """What is held, by id; ``released`` counts what was let go since the start."""

    def __init__(self) -> None:
        self._jobs: dict[uuid.UUID, Job] = {}
        self.released = 0

    @property
    def count(self) -> int:
        """How many tasks are held."""
        return len(self._jobs)

    def add(self, jobs: Iterable[Job]) -> None:
        """Hold tasks."""
        self._jobs.update((job.id, job) for job in jobs)

    def holds(self, job: Job) -> bool:
        """Whether it is held from this very claim."""
        return self._jobs.get(job.id) is job

    def release(self, jobs: Iterable[Job]) -> None:
        """Let go of tasks whose outcome is stored or refused; one that was claimed anew since then stays."""
        for job in jobs:
            if self.holds(job):
                del self._jobs[job.id]
                self.released += 1

    def ids(self) -> list[uuid.UUID]:
        """The ids of all."""
        return list(self._jobs)

    def jobs(self) -> list[Job]:
        """All of them."""
        return list(self._jobs.values())
