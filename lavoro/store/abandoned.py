"""Ends abandoned sessions, because a statement without an answer may still commit after the one that replaces it."""

from __future__ import annotations

from psycopg.errors import InsufficientPrivilege

from lavoro.store.deadline import Backend
from lavoro.store.tx import Tx

WAIT = 2.0
"""Seconds to wait for the end of a session, twice; a session that waits for a lock ends at once."""


def end_abandoned(tx: Tx, backend: Backend) -> bool:
    """End an abandoned session and wait for its end; return whether it has ended.

    Its statement is then either committed, so that the next statement sees it, or it never happens. False if the
    session does not end in time, or if our user may not end it. Call it in autocommit.

    Behind a pooler in transaction mode the session of a statement is unknown. There every session of that application
    name is ended that has run one statement for longer than any client waits. A statement that was abandoned sooner,
    because its connection broke, may still commit.
    """
    parameters = {**backend._asdict(), "wait": round(WAIT * 1000)}
    try:
        # Twice: for a session that ends by itself at this moment, the first answer is "no".
        return any(all(row[0] for row in tx.run("end_session", parameters)) for _ in range(2))
    except InsufficientPrivilege:
        return False
