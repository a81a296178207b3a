-- Renews the leases of a node's live children, and tells what else the node has to know: an idle one asks nothing else.
-- A worker that is missing among the renewed has been given up by others. Nodes that renew seldom are told of a lease
-- that gets shorter: else they would look for its end when the long one was to end.
with renewed as (
    update {schema}.worker set seen_at = statement_timestamp(),
        -- A lease gets shorter only by who knows of the last renewal: not by a statement that was given up, and comes late.
        expires_at = case when seen_at = %(known)s::timestamptz then clock_timestamp() + lease * %(factor)s::float8
            -- No later than its own length from now: a lease given before the clock was set back would end too late.
            else greatest(least(expires_at, clock_timestamp() + (expires_at - seen_at)),
                clock_timestamp() + lease * %(factor)s::float8) end
    -- That is: stopped_at is null. So written, the index of all live workers, which is longer, does not fit.
    where id = any (%(ids)s::bigint[]) and coalesce(stopped_at, 'infinity') = 'infinity'
    returning id, lease, seen_at
)
select 'renewed' as what, id as worker_id, null::uuid as id, null::int as attempt, null::text as how,
    null::float8 as seconds, seen_at
from renewed
union all
select 'clock', null, null, null, null, null, statement_timestamp()
union all
select 'cancel', worker_id, id, attempt, cancel, null, null from {schema}.running
where worker_id = any (%(ids)s::bigint[]) and cancel is not null
union all
select 'told', null, null, null, null, null, null
from (select extract(epoch from max(lease)) as seconds from renewed) r, pg_notify('{prefix}_wake', 'lease:' || r.seconds)
where %(shortening)s::boolean and r.seconds is not null
union all
-- When the first lease of somebody else ends. Not from the beginning of the index: with a snapshot held, what all the
-- renewals since have left there cannot be cleaned up.
(
    select 'expires', id, null, null, null, extract(epoch from expires_at - clock_timestamp()), null
    from {schema}.worker
    where stopped_at is null and expires_at > statement_timestamp() - %(back)s::float8 * interval '1 second'
        and id <> all (%(ids)s::bigint[])
    order by expires_at limit 1
)
