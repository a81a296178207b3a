"""The base of all pools: slots that take jobs from one queue."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import queue
import threading
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from heapq import heappop, heappush
from types import FunctionType
from typing import Any

from lavoro.protocol.message import Job
from lavoro.runtime.forking import leave_fork
from lavoro.worker.child.import_context import inherited
from lavoro.worker.scoreboard import SLOT_FUNCTION

logger = logging.getLogger("lavoro.worker")


OVERDUE = 10
"""Calls of ``take_back_overdue``, ten a second, after which a job that no slot has begun is released."""


class Pool:
    """``slots`` threads (greenlets where gevent has patched) that each take the next job and run it."""

    def __init__(
        self,
        slots: int,
        run: Callable[[Job, int, Any], None],
        *,
        received: Callable[[list[Job]], list[Any] | None] = lambda jobs: None,
    ) -> None:
        self.slots = slots
        self._run, self._received = run, received
        # The most urgent first, then in the order of coming. A heap of tuples is pushed and popped in one step of C, so
        # threads need no lock; the queue beside it counts what is in the heap, and is where idle slots wait.
        self._jobs: list[tuple[float, int, Job | None, Any]] = []
        """Priority, number, the job, and the value that ``received`` returned for it."""
        self._order = itertools.count()
        self._newest = -1
        self._marks = deque([-1] * OVERDUE, maxlen=OVERDUE)
        """The number of the newest job at each of the last calls of ``take_back_overdue``."""
        self._available: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._threads: dict[int, threading.Thread] = {}
        """By the number of the slot; those that have left have no number."""
        self._changing = threading.Lock()
        self._running: dict[uuid.UUID, Any] = {}
        self.room_made: Callable[[], object] = lambda: None
        """Called when a slot has become free; the claimer, which needs the pool, sets it."""

    def start(self) -> None:
        """Start the slots."""
        self.resize(self.slots)

    def resize(self, slots: int) -> None:
        """Have so many slots: start more, or have some end, each after the job it has."""
        with self._changing:
            self.slots = slots
            free = (number for number in itertools.count() if number not in self._threads)
            while len(self._threads) < slots:
                slot = next(free)
                name = f"lavoro-slot-{slot}"
                thread = threading.Thread(target=inherited(), args=(self._work, slot), name=name, daemon=True)
                self._threads[slot] = thread
                thread.start()
            for _ in range(len(self._threads) - slots):
                self._available.put(None)  # wakes a slot, which then sees that it is one too many

    @property
    def present(self) -> int:
        """The number of slots that there are: more than ``slots`` while some still have a job to end."""
        return len(self._threads)

    def add(self, jobs: list[Job]) -> None:
        """Give jobs to the slots, each with the value that ``received`` returned for it: ``run`` gets both."""
        made = self._received(jobs) or itertools.repeat(None)
        for job, call in zip(jobs, made, strict=False):
            self._newest = next(self._order)
            heappush(self._jobs, (-job.priority, self._newest, job, call))
            self._available.put(None)

    def begin(self) -> None:
        """Let slots begin what was added, where the caller would keep them from it."""

    def take_back(self) -> list[Job]:
        """Take away the jobs that no slot has begun."""
        taken: list[Job] = []
        while True:
            try:
                job = heappop(self._jobs)[2]
            except IndexError:
                return taken
            if job is not None:
                taken.append(job)

    def take_back_overdue(self) -> list[Job]:
        """Take away the jobs that no slot has begun for ``OVERDUE`` calls; to be called at each tick.

        Slots became free, but others were more urgent, or the tasks are longer than those before.
        """
        mark = self._marks[0]
        self._marks.append(self._newest)
        if all(number > mark for _, number, _, _ in list(self._jobs)):
            return []
        taken: list[Job] = []
        kept: list[tuple[float, int, Job | None, Any]] = []
        with contextlib.suppress(IndexError):
            while True:
                entry = heappop(self._jobs)
                if entry[2] is not None and entry[1] <= mark:
                    taken.append(entry[2])
                else:
                    kept.append(entry)
        for entry in kept:
            heappush(self._jobs, entry)
            self._available.put(None)
        return taken

    @property
    def waiting(self) -> int:
        """The number of jobs that no slot has begun."""
        return len(self._jobs)

    @property
    def outstanding(self) -> int:
        """The number of jobs that wait or run."""
        return len(self._jobs) + len(self._running)

    @property
    def running(self) -> list[uuid.UUID]:
        """The tasks that run."""
        return list(self._running)

    def stop(self) -> None:
        """Let each slot end after the job it has."""
        for _ in range(max(self.slots, self.present)):
            heappush(self._jobs, (math.inf, next(self._order), None, None))  # after all jobs
            self._available.put(None)

    def join(self, timeout: float) -> None:
        """Wait for each slot to end after ``stop``, at most so many seconds."""
        for thread in list(self._threads.values()):
            thread.join(timeout)

    def _work(self, slot: int) -> None:
        work_on = _named_after_slot(Pool._work_on, slot)
        while True:
            try:
                self._available.get()
                if len(self._threads) > self.slots and self._leaves(slot):
                    return
                _, _, job, call = heappop(self._jobs)
                if job is None:
                    return
                work_on(self, job, slot, call)
                leave_fork()  # a handler or a receiver of a signal may have forked
            except IndexError:
                continue  # the job was taken back
            except BaseException as late:  # an interruption that came after its task had ended
                leave_fork(late)
                logger.debug("slot %d was interrupted between tasks: %r", slot, late)
                if self._threads and self._threads.get(slot) is not threading.current_thread():
                    return  # it was just leaving

    def _leaves(self, slot: int) -> bool:
        """Whether this slot is one too many, so that it ends; another one gets what it was woken for."""
        with self._changing:
            leaves = len(self._threads) > self.slots
            if leaves:
                del self._threads[slot]
        if leaves:
            self._available.put(None)
        return leaves

    def _work_on(self, job: Job, slot: int, call: Any) -> None:
        self._running[job.id] = self.handle()
        try:
            self._run(job, slot, call)
        finally:
            self._running.pop(job.id, None)
            self.room_made()  # not sooner: a claimer that counts the slots before this waits for room that is there

    # Where they differ

    def work(self) -> None:
        """Run jobs in the main thread, where a pool does that; others return at once."""

    def handle(self) -> Any:
        """Return what ``interrupt`` needs to reach the slot that calls this."""
        return threading.get_ident()

    shares_loop = False
    """Whether a task can keep the services of its process from running."""
    limits_hard = True
    """Whether ``limit`` can end a task at its hard limit without ending the process."""

    def limit(self, seconds: float, error: BaseException) -> AbstractContextManager[Any]:
        """Raise an error in the block after so many seconds."""
        raise NotImplementedError

    def interrupt(self, id: uuid.UUID, error: BaseException) -> bool:
        """Raise an error in a running task; False if it does not run here."""
        raise NotImplementedError


def _named_after_slot(function: Callable[..., None], slot: int) -> Callable[..., None]:
    """Return a copy of a function whose name tells the slot: stack dumps of a stuck process show only names."""
    assert isinstance(function, FunctionType)
    return FunctionType(function.__code__.replace(co_name=f"{SLOT_FUNCTION}{slot}"), function.__globals__)
