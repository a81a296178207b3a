"""What was stored at a time that is still to come, for the server's clock was set back since."""

from __future__ import annotations

from lavoro.store.database import Tx

BATCH = 20_000
"""Tasks of one statement: claims pass over rows that it has locked."""


def pull_tasks(tx: Tx) -> tuple[int, float]:
    """Make tasks due that were due at once when they were stored; return how many, and how far ahead they lay.

    A task with a countdown or an ETA keeps its time: which of them it had is not known any more.
    """
    lanes = tx.run("future_tasks")
    seconds, pulled = max((lane[2] for lane in lanes), default=0.0), 0
    for queue, priority, _ in lanes:
        parameters = {"queue": queue, "priority": priority, "seconds": seconds, "limit": BATCH}
        while (row := tx.row("pull_tasks", parameters)) and row[0]:
            pulled += row[0]
    return pulled, seconds


def pull_leases(tx: Tx) -> int:
    """Let leases begin now that were renewed in the future; return how many. Their nodes renew them as always."""
    return len(tx.run("pull_leases"))
