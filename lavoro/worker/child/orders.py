"""Carries out the orders of the supervisor: a table of their kinds, with a function for each."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable

from lavoro import signals
from lavoro.execution.executor import Cancelled
from lavoro.worker.child import commands
from lavoro.worker.child.import_context import inherited
from lavoro.worker.child.leaving import Leaving
from lavoro.worker.child.parts import Parts
from lavoro.worker.pipe import Message

logger = logging.getLogger("lavoro.worker")


def obey(orders: Iterable[Message], parts: Parts, leaving: Leaving) -> None:
    """Carry out each order as it comes; leave when the supervisor is gone."""
    for order in orders:
        try:
            if order["kind"] == "stop":
                leaving.stop(order)
            elif order["kind"] == "let_go":
                leaving.let_go(last=order["last"])
            else:
                ORDERS[order["kind"]](parts, order)
        except Exception:  # the next order must be carried out
            logger.exception("an order could not be carried out: %s", order)
    leaving.supervisor_gone()


def _worker_ready(parts: Parts, order: Message) -> None:
    signals.worker_ready.send(parts.settings.consumer)


def _cancel(parts: Parts, order: Message) -> None:
    job = parts.in_flight.find(uuid.UUID(order["id"]))
    if job is not None and parts.runner.cancel(job, interrupt=bool(order.get("terminate"))):
        parts.pool.interrupt(job.id, Cancelled(order.get("signal")))


def _tick(parts: Parts, order: Message) -> None:
    parts.schedules.begin(define=order["define"], within=inherited)


def _rest(parts: Parts, order: Message) -> None:
    parts.claimer.rest(order["order"])
    if order["order"] is not None:
        parts.prefetched.release()


ORDERS: dict[str, Callable[[Parts, Message], None]] = {
    "worker_ready": _worker_ready,
    "cancel": _cancel,
    "tick": _tick,
    "schedules": lambda parts, order: parts.schedules.changed(),
    "rest": _rest,
    "queues": lambda parts, order: parts.claimer.serve(order["queues"]),
    "slots": lambda parts, order: parts.slots.resize(order["slots"]),
    "command": commands.carry_out,
    "handle": lambda parts, order: parts.end_handlers.call(),
    "listening": lambda parts, order: parts.claimer.confirm_sleep(listening=order["listening"]),
    "wake": lambda parts, order: parts.claimer.notified(order["what"]),
}
"""By the kind of an order, the function that carries it out; ``stop`` and ``let_go`` are for ``Leaving``."""
