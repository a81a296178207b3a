"""Ends abandoned sessions, because a statement without an answer may still commit after the one that replaces it."""

from __future__ import annotations

from psycopg.errors import InsufficientPrivilege

from lavoro.store.deadline import Backend
from lavoro.store.tx import Tx

WAIT = 2.0
"""Seconds to wait for the end of a session, twice; a session that waits for a lock ends at once."""

_END = b"""
    select pg_terminate_backend(pid, %(wait)s::bigint) from pg_stat_activity
    where application_name = %(application)s and datname = current_database() and pid <> pg_backend_pid()
        and case when %(pid)s::int is null
            -- Behind a pooler: a statement that runs for longer than its client waits is abandoned.
            then state = 'active'
                and query_start < statement_timestamp() - least(%(patience)s::float8, 1e6) * interval '1 second'
            -- Only a user that may end a session sees its start: all others take it for the same one.
            else pid = %(pid)s::int and coalesce(extract(epoch from backend_start)::text = %(start)s::text, true) end
"""


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
        return any(all(row[0] for row in tx.cursor.execute(_END, parameters).fetchall()) for _ in range(2))
    except InsufficientPrivilege:
        return False
