"""Makes partitions ahead of time, and drops what is older than the retention."""

from __future__ import annotations

import logging
import time
from functools import partial

from lavoro.runtime.service import jitter
from lavoro.store import commands, entries, events, history, limits, members, workers
from lavoro.store.schema import partitions
from lavoro.store.tx import Tx
from lavoro.text.plural import counted
from lavoro.worker.supervisor.duty import Duty

logger = logging.getLogger("lavoro.worker")

INTERVAL = 600.0


class Retention(Duty):
    """One node leads for ten minutes and does it for all; an error of one table does not stop the others."""

    def __init__(self, node: str, kept: dict[str, float | None]) -> None:
        super().__init__()
        self._node, self._kept = node, kept
        # Nodes that start together must not all begin with the partitions.
        self._done = time.monotonic() - INTERVAL + jitter(0, 5)

    def run(self, tx: Tx) -> None:
        """Do it if ten minutes have passed."""
        if time.monotonic() - self._done >= INTERVAL:
            self._done = time.monotonic()
            self.attempt(tx, "to share the retention with other nodes", self._retain)

    def _retain(self, tx: Tx) -> None:
        if workers.acquire_leadership(tx, "retention", holder=self._node, seconds=INTERVAL - 60) is None:
            return  # another node has done it
        for table, kept in self._kept.items():
            if kept is not None and table == "tick":
                self.attempt(tx, "to forget old ticks", partial(entries.forget_ticks, kept=kept))
            elif kept is not None and table == "command":
                self.attempt(tx, "to forget old commands", partial(commands.forget, kept=kept))
            elif kept is not None:
                part = partial(self._retain_table, table=table, kept=kept)
                self.attempt(tx, f"to make and drop partitions of {table}", part)
        if (kept := self._kept.get("finished_success")) is not None:
            self.attempt(tx, "to forget old barriers", partial(members.forget_old, kept=kept))
        self.attempt(tx, "to forget old events", events.forget)
        self.attempt(tx, "to forget old limits and unique keys", limits.forget)
        self.attempt(tx, "to count the tasks of limits anew", self._recount)
        forget = partial(workers.forget_old, kept=self._kept["attempt"])
        self.attempt(tx, "to forget old workers and revokes", forget)
        self.attempt(tx, "to forget old parts of the history", history.forget)

    def _recount(self, tx: Tx) -> None:
        if wrong := limits.recount(tx):
            logger.error(
                "%s had a wrong count of running tasks, and got the right one: was a table changed by hand?",
                counted(wrong, "limit"),
            )

    def _retain_table(self, tx: Tx, *, table: str, kept: float) -> None:
        made = partitions.make_ahead(tx, {table: kept})
        dropped = partitions.drop_behind(tx, {table: kept})
        if made or dropped:
            logger.info("retention: made %s, dropped %s", made, dropped)
