"""Ends a child: it stops claiming, waits for running tasks, stores their outcomes, and exits."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable

from lavoro import signals
from lavoro.store import embedded
from lavoro.worker.child.import_context import inherited
from lavoro.worker.child.parts import Parts
from lavoro.worker.pipe import Message, Pipe

logger = logging.getLogger("lavoro.worker")

CLAIM_TIMEOUT = 2.0
"""Seconds that a stop waits for a claim that is under way."""
LATECOMERS = 1.0
"""Seconds between checks for tasks of a claim that was under way when the claimer was stopped."""


class Leaving:
    """Stops the parts of a child in order, then calls ``end`` with the last act before the process ends.

    ``grace`` is for a stop without a supervisor.
    """

    def __init__(
        self, parts: Parts, pipe: Pipe, end: Callable[[Callable[[], object]], object], *, number: int, grace: float
    ) -> None:
        self._parts, self._pipe, self._end, self._number, self._grace = parts, pipe, end, number, grace
        self._order: Message | None = None
        self.over = False
        """Whether there is nothing left to stop."""
        self._leave_by = math.inf
        self._recheck = threading.Event()
        """Set when there may be no task left to wait for, or less time."""
        self._let_go, self._last = threading.Event(), False

    def stop(self, order: Message) -> None:
        """Claim nothing more; leave once nothing runs, or when the time is up. A later order may shorten the time."""
        grace, before = order["grace"], self._order
        self._leave_by = min(self._leave_by, math.inf if grace is None else time.monotonic() + grace)
        if order["node"] and self._number == 0 and (before is None or not before["node"]):
            hostname, how = self._parts.settings.hostname, order["how"].title()
            signals.worker_shutting_down.send(hostname, sig=order["sig"], how=how, exitcode=0)
        self._order = order
        self._recheck.set()
        if before is None:
            threading.Thread(target=inherited(), args=(self._leave,), name="lavoro-leave", daemon=True).start()

    def let_go(self, *, last: bool) -> None:
        """End the wait for the other processes; ``last``: all are gone, and this one ends the node."""
        self._last = last
        self._let_go.set()

    def supervisor_gone(self) -> None:
        """Stop without the supervisor, which renewed the lease: tasks get half of the time that is left of it."""
        if self.over:
            return
        logger.error("the supervisor is gone; leaving")
        self._let_go.set()
        grace = max(0.0, min(self._grace, self._parts.self_fence.left / 2))
        self.stop({"grace": grace, "how": "warm", "sig": None, "node": False})

    def _leave(self) -> None:
        """Stop the parts in this order, then end at once: a task that still runs must not go on."""
        parts = self._parts
        self._stop_claiming()
        self._wait_for_tasks()
        self._call_shutdown()
        self._announce_exit()
        parts.hooks.close(running=len(parts.pool.running))
        parts.prefetched.release()  # tasks of a slow claim
        parts.tally.flush()
        if not self._pipe.send("bye"):  # else the supervisor rescues them after the exit
            running = set(parts.pool.running)
            parts.finisher.abandon([job for job in parts.in_flight.jobs() if job.id in running])
        parts.finisher.stop(parts.finisher.stop_timeout + 1)
        self.over = True
        self._end(parts.finisher.release_running)

    def _stop_claiming(self) -> None:
        parts = self._parts
        parts.finisher.stored = parts.end_handlers.done = self._recheck.set
        parts.end_handlers.stop(0)
        parts.schedules.halt(CLAIM_TIMEOUT)
        parts.claimer.stop(CLAIM_TIMEOUT)
        parts.prefetched.release()
        parts.pool.stop()

    def _wait_for_tasks(self) -> None:
        while True:
            self._recheck.clear()  # before the check: a task that ends meanwhile must not be missed
            left = self._leave_by - time.monotonic()
            if left <= 0 or not (self._parts.in_flight.count or self._parts.end_handlers.busy):
                return
            self._parts.prefetched.release()  # a slow claim may have brought more, and the slots have stopped
            self._recheck.wait(min(left, LATECOMERS))

    def _call_shutdown(self) -> None:
        """Call the shutdown functions of the process, then, in the last process of the node, those of the node."""
        self._parts.hooks.stop_process()
        if self._order is not None and self._order.get("together") and self._pipe.send("drained"):
            self._let_go.wait()
            if self._last:
                self._parts.hooks.stop_node()

    def _announce_exit(self) -> None:
        running = set(self._parts.pool.running)
        for job in self._parts.in_flight.jobs():
            if job.id in running:
                logger.warning("%s[%s] did not end in time and is requeued", job.name, job.task_id)
        settings = self._parts.settings
        signals.worker_process_shutdown.send(settings.hostname, pid=os.getpid(), exitcode=0)
        if self._number == 0 and self._order is not None and self._order["node"]:
            signals.worker_shutdown.send(settings.consumer)


def end_process(last_act: Callable[[], object]) -> None:
    """End this process at once, after its log is written and the last act is done."""
    logging.shutdown()
    for handle in list(embedded.EmbeddedPostgres._open.values()):
        handle.leave()
    last_act()
    os._exit(0)
