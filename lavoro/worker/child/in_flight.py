"""In-flight tasks: claimed by this child, and their outcome not stored yet."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable

from lavoro.protocol.message import Job

IDLE_AFTER = 30.0
"""Seconds without in-flight tasks after which a child is idle: its node renews its lease more seldom."""
SOON = 0.1
"""The same where the worker ends when nothing is left to do."""


class InFlight:
    """In-flight tasks by id; ``released`` counts those removed since the start.

    ``tell`` is called when the child gets idle, and when it is no longer: never for a task in a busy time.
    """

    def __init__(self, tell: Callable[[bool], object] = lambda idle: None, *, soon: bool = False) -> None:
        self._jobs: dict[uuid.UUID, Job] = {}
        self.released = 0
        self._tell, self._idle = tell, False
        self._soon = soon
        self._seen = (time.monotonic(), 0)
        """When a check last saw a task, and the number released by then."""
        self._telling = threading.Lock()
        """Held while ``tell`` is called, so that its last call is true."""

    @property
    def count(self) -> int:
        """The number of in-flight tasks."""
        return len(self._jobs)

    def add(self, jobs: Iterable[Job]) -> None:
        """Add tasks."""
        self._jobs.update((job.id, job) for job in jobs)
        if self._idle and self._jobs:
            self._set_idle(False)

    def drop(self, job: Job) -> None:
        """Remove a task that was added before it was known whether it begins here, and that does not."""
        if self.holds(job):
            del self._jobs[job.id]

    def check_idle(self) -> None:
        """See whether the child is idle by now; to be called at least once a second."""
        now = time.monotonic()
        if self._jobs or self.released != self._seen[1]:
            self._seen = (now, self.released)
        elif not self._idle and now - self._seen[0] >= (SOON if self._soon else IDLE_AFTER):
            self._set_idle(True)

    def _set_idle(self, idle: bool) -> None:
        with self._telling:
            told = self._idle
            self._idle = idle  # before the check: an ``add`` from now on sees it, and waits for the lock
            self._idle = idle and not self._jobs
            if self._idle != told:
                self._tell(self._idle)

    def holds(self, job: Job) -> bool:
        """Whether it is in-flight from this very claim."""
        return self._jobs.get(job.id) is job

    def find(self, id: uuid.UUID) -> Job | None:
        """Return the task of that id, if it is in-flight."""
        return self._jobs.get(id)

    def release(self, jobs: Iterable[Job]) -> None:
        """Remove tasks whose outcome is stored or refused; one that was claimed anew since then stays."""
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
