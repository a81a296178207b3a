"""A duty: one thing that a node does in the database again and again, on the connection of its upkeep."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import psycopg
from psycopg.pq import TransactionStatus

from lavoro.store.errors import first_line
from lavoro.store.tx import Tx
from lavoro.store.workers import Cancellation

logger = logging.getLogger("lavoro.worker")

RENEWALS = 4
"""Renewals per lease: two may fail before the node fences itself, and other nodes take its tasks."""


class Hooks(NamedTuple):
    """Functions that the duties call, in the upkeep's thread."""

    lost: Callable[[set[int]], None]
    """Other nodes ended the leases of these workers."""
    cancel: Callable[[Sequence[Cancellation]], None]
    """These tasks are cancelled: all of the node, at each renewal."""
    turned: Callable[[], float] = time.monotonic
    """When (monotonic) the main loop last turned, which watches the children and reaps them."""
    rescued: Callable[[], object] = lambda: None
    """A rescue is committed: tasks may have ended in it, and their handlers are due."""


class Duty:
    """One duty of a node; the upkeep runs all duties in each of its rounds, and each does what is due.

    An error of the connection ends the round, and the upkeep opens another connection.
    """

    def __init__(self) -> None:
        self._failing: dict[str, str] = {}
        """The parts that failed the last time, with their errors."""

    @property
    def due(self) -> float:
        """When (monotonic) the next round is due for it; infinity: the rounds of other duties are enough."""
        return math.inf

    @property
    def pending(self) -> bool:
        """Whether a part of it could not be done yet, so that the next round comes soon."""
        return False

    def run(self, tx: Tx) -> None:
        """Do what is due."""
        raise NotImplementedError

    def attempt(self, tx: Tx, part: str, call: Callable[[Tx], object]) -> None:
        """Do one part; its error is logged, and the next part follows, unless the connection is lost."""
        try:
            call(tx)
        except psycopg.Error as error:
            if tx.connection.pgconn.transaction_status != TransactionStatus.IDLE:
                raise
            text = first_line(error)
            if self._failing.get(part) != text:
                logger.error("upkeep failed %s, trying again: %s", part, text)
            self._failing[part] = text
        else:
            if self._failing.pop(part, None):
                logger.warning("upkeep was able %s again", part)
