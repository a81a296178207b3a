"""Ending what was given up: a statement without an answer may still be done, after what is done instead of it."""

from __future__ import annotations

from psycopg.errors import InsufficientPrivilege

from lavoro.store.database import Tx
from lavoro.store.deadline import Backend

WAIT = 2.0
"""Seconds for which the end of a session is waited for, twice: one that waits for a lock ends at once."""

_END = b"""
    select pg_terminate_backend(pid, %(wait)s::bigint) from pg_stat_activity
    where application_name = %(application)s and datname = current_database() and pid <> pg_backend_pid()
        and case when %(pid)s::int is null
            -- Behind a pooler: what runs for longer than its client waits has been given up.
            then state = 'active'
                and query_start < statement_timestamp() - least(%(patience)s::float8, 1e6) * interval '1 second'
            -- Only a user that may end it sees its start: for others it is still there.
            else pid = %(pid)s::int and coalesce(extract(epoch from backend_start)::text = %(start)s::text, true) end
"""


def end_abandoned(tx: Tx, backend: Backend) -> bool:
    """End a session whose connection was given up, and wait for its end; tell whether it is over.

    What it was doing is either committed by then, and is seen by the next statement, or never happens. False if it
    does not end in time, or belongs to a user whose sessions we may not end. To be called in autocommit.

    Behind a pooler in transaction mode nobody knows which session a statement ran in. There every session of that
    application name is ended that has run one statement for longer than any client waits; what was given up sooner,
    because the connection broke, may still be done.
    """
    parameters = {**backend._asdict(), "wait": round(WAIT * 1000)}
    try:
        # Twice: of a session that ends by itself in this moment the first answer is "no".
        return any(all(row[0] for row in tx.cursor.execute(_END, parameters).fetchall()) for _ in range(2))
    except InsufficientPrivilege:
        return False
