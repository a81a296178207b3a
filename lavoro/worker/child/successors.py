"""Begins the next step of a chain in the process that has ended the step before it, if no task waits."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Callable

from lavoro.protocol.message import Job, Message
from lavoro.protocol.outcome import Outcome, Requeued
from lavoro.store import tasks
from lavoro.store.stamps import STAMPS
from lavoro.store.tx import Tx
from lavoro.worker.child.claimer import Claimer
from lavoro.worker.child.in_flight import InFlight

_SOON = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
"""Stands for the time until the database tells it."""
LATE = 0.01
"""Seconds after which callers hear of the end of a step that another one follows: few wait for it, and a notification
takes a tenth of a link's time. Those that wait for the last step hear of that at once."""


class Successors:
    """Stores the outcome of a step, and runs the next one without a notification and a claim: half of a link's time.

    The step is in flight before the statement puts it into ``running``: a search for tasks that are running and not in
    flight must not find it.
    """

    def __init__(
        self, claimer: Claimer, in_flight: InFlight, *, worker_id: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._claimer, self._in_flight, self._worker_id, self._clock = claimer, in_flight, worker_id, clock
        self._untold: list[uuid.UUID] = []
        """Steps whose outcome is stored, and of whose end no caller has heard."""
        self._tell_at = 0.0

    def settle(self, tx: Tx, outcome: Outcome) -> bool:
        """Store an outcome that one plain task follows; False if it is another one, and is not stored."""
        if isinstance(outcome, Requeued) or (following := tasks.link_of(outcome)) is None:
            return False
        if not self._claimer.serves(following.queue) or STAMPS in (following.options or ""):
            return False  # its claim sees whether a stamp is revoked
        job = _job(following)
        self._in_flight.add([job])
        try:
            linked = tasks.finish_link(tx, self._worker_id, outcome, following, start=True)
        except BaseException:
            self._in_flight.drop(job)
            self._claimer.look_for_lost()
            raise
        if linked is not None:
            self._note(outcome.job.id)
        if linked is None or linked.begun is None:
            self._in_flight.drop(job)
            return linked is not None
        job = job._replace(due=linked.begun)
        self._in_flight.add([job])
        self._claimer.accept([job])
        return True

    def _note(self, id: uuid.UUID) -> None:
        if not self._untold:
            self._tell_at = self._clock() + LATE
        self._untold.append(id)

    def tell(self, tx: Tx, *, now: bool = False) -> float | None:
        """Tell callers of ended steps once it is time; return the seconds until then, None if there are none.

        Ids are dropped where an error keeps them from being told: callers also look.
        """
        if not self._untold:
            return None
        if not now and (left := self._tell_at - self._clock()) > 0:
            return left
        ids, self._untold = self._untold, []
        tasks.tell_ended(tx, ids)
        return None


def _job(message: Message) -> Job:
    """Return a plain message as the job of its first start."""
    return Job(
        message.id, message.name, message.args, message.kwargs, message.options, None, message.queue,
        message.priority, 1, 0, 0, _SOON, None, False, False,
    )  # fmt: skip
