-- Returns true if a session holds the key's lock shared: a worker sleeps on the queue, or a caller awaits results.
-- NOTIFY takes a lock on the whole database at commit. Statements skip it when this function returns false.
-- It is one expression, because a cancel between two statements would leave the lock behind. The server inlines it.
create or replace function {schema}.is_awaited(p_key text) returns boolean language sql volatile as $$
    select case when pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended(p_key, 0))
        then not pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended(p_key, 0)) else true end
$$;

revoke all on function {schema}.is_awaited from public;
