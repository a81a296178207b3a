"""Moves tasks and leases back that lie in the future, because the server's clock was set back."""

from __future__ import annotations

from lavoro.store.tx import Tx

BATCH = 20_000
"""Tasks of one statement: claims pass over rows that it has locked."""


def pull_tasks(tx: Tx) -> tuple[int, float]:
    """Make tasks due that were due at once when stored; return their number, and the most seconds that they were ahead.

    A task with a countdown or an ETA keeps its time: its row does not say which of the two it had.
    """
    lanes = tx.run("future_tasks")
    seconds, pulled = max((lane[2] for lane in lanes), default=0.0), 0
    for queue, priority, _ in lanes:
        parameters = {"queue": queue, "priority": priority, "seconds": seconds, "limit": BATCH}
        while (row := tx.row("pull_tasks", parameters)) and row[0]:
            pulled += row[0]
    return pulled, seconds


def pull_leases(tx: Tx) -> int:
    """Let leases that were renewed in the future begin now; return their number. Their nodes go on renewing them."""
    return len(tx.run("pull_leases"))
