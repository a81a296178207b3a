-- Moves up to `limit` due tasks of the lanes (best lane first) from waiting to running; no task goes to two claimers.
with lane as materialized (
    select l.*
    from unnest(%(queues)s::text[], %(priorities)s::int2[], %(bounds)s::timestamptz[]) as l (queue, priority, bound)
    where not exists (select from {schema}.queue q where q.name = l.queue and q.paused_at is not null)
        and exists (
            select from {schema}.worker me where me.id = %(worker_id)s
                and me.live --@live
        )
), picked as materialized (
    select w.tid
    from lane cross join lateral (
        -- statement_timestamp() is stable, so both ends of the range are index conditions: no future task is read.
        select w.ctid as tid from {schema}.waiting w
        where w.queue = lane.queue and w.priority = lane.priority
            and w.due_at >= lane.bound and w.due_at <= statement_timestamp()
        order by w.due_at limit %(limit)s for update skip locked
    ) w
    limit %(limit)s
), taken as (
    delete from {schema}.waiting w where w.ctid = any (array(select tid from picked)) returning w.*
), refused as materialized (
    -- Tasks for which a limit has no room. Without keys in the batch the function does not run.
    select r.key::uuid as id, r.value as limited_by
    from (
        select array_agg(t.id) as ids, array_agg(t.keys) as keys
        from (select id, keys from taken where keys is not null order by priority desc, due_at) t
    ) t
    cross join lateral jsonb_each_text({schema}.take_slots(t.ids, t.keys)) r
), parked as (
    insert into {schema}.held (
        id, queue, priority, attempt, retries, crashes,
        due_at, created_at, expires_at,
        name, args, kwargs, options, payload, reason, barriers, keys, limited_by
    )
    select
        t.id, queue, priority, attempt, retries, crashes,
        due_at, created_at, expires_at,
        name, args, kwargs, options, payload, reason, barriers, keys, r.limited_by
    from taken t join refused r on r.id = t.id
), claimed as (
    select * from taken where keys is null or id not in (select id from refused)
), held as (
    insert into {schema}.running (
        id, worker_id, queue, priority, attempt, retries, crashes,
        due_at, created_at, expires_at,
        name, args, kwargs, options, payload, barriers, keys
    )
    select
        id, %(worker_id)s, queue, priority,
        attempt + 1, --@start
        retries, crashes,
        due_at, created_at, expires_at,
        name, args, kwargs, options, payload, barriers, keys
    from claimed
)
select
    id, name, args::text, kwargs::text, options::text, payload,
    queue, priority, attempt + 1 as attempt, retries, crashes,
    due_at,
    -- Python's calendar has the years 1 to 9999: one other time would make the whole batch unreadable.
    case when expires_at between '0001-02-01 00:00+00' and '9999-12-01 00:00+00' then expires_at end as expires_at,
    coalesce(expires_at <= statement_timestamp(), false) as expired,
    -- The first test runs once for each claim; while `revoked` is empty, the second one never runs.
    -- `offset 0` keeps the second one an index look-up: without it the planner hashes the whole table.
    exists (select from {schema}.revoked)
        and exists (select from {schema}.revoked v where v.id = claimed.id offset 0) as revoked
from claimed
order by priority desc, due_at
