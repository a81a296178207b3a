-- Renews the leases of a node's live children. Returns them, the server's time, cancelled tasks and the next expiry.
-- A worker that is missing from the renewed ones has lost its lease to a rescue.
-- With `shortening`, idle nodes are notified: otherwise they would check for expiry when the long lease was to end.
with renewed as (
    update {schema}.worker set
        seen_at = statement_timestamp(),
        -- Only a node that knows the last renewal may shorten a lease: an abandoned statement may arrive late.
        expires_at = case when seen_at = %(known)s::timestamptz then clock_timestamp() + lease * %(factor)s::float8
            -- At most its own length from now: a lease from before the clock was set back would end too late.
            else greatest(
                least(expires_at, clock_timestamp() + (expires_at - seen_at)),
                clock_timestamp() + lease * %(factor)s::float8
            ) end
    where id = any (%(ids)s::bigint[]) and live
    returning id, lease, seen_at
)
select
    'renewed' as what, id as worker_id, null::uuid as id, null::int as attempt, null::text as how,
    null::float8 as seconds, seen_at
from renewed
union all
select 'clock', null, null, null, null, null, statement_timestamp()
union all
select 'cancel', worker_id, id, attempt, cancel, null, null from {schema}.running
where worker_id = any (%(ids)s::bigint[]) and cancel is not null
union all
select 'told', null, null, null, null, null, null
from (select extract(epoch from max(lease)) as seconds from renewed) r,
    pg_notify('{prefix}_wake', 'lease:' || r.seconds)
where %(shortening)s::boolean and r.seconds is not null
union all
-- The next expiry of another worker's lease. The scan starts at `back`, not at the beginning of the index:
-- under a held snapshot, the entries of all earlier renewals remain there.
(
    select 'expires', id, null, null, null, extract(epoch from expires_at - clock_timestamp()), null
    from {schema}.worker
    where stopped_at is null and expires_at > statement_timestamp() - %(back)s::float8 * interval '1 second'
        and id <> all (%(ids)s::bigint[])
    order by expires_at limit 1
)
