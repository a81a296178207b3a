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
), held as (
    insert into {schema}.running (
        id, worker_id, queue, priority, attempt, retries, crashes,
        due_at, created_at, expires_at,
        name, args, kwargs, options, payload, barriers
    )
    select
        id, %(worker_id)s, queue, priority,
        attempt + 1, --@start
        retries, crashes,
        due_at, created_at, expires_at,
        name, args, kwargs, options, payload, barriers
    from taken
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
        and exists (select from {schema}.revoked v where v.id = taken.id offset 0) as revoked
from taken
order by priority desc, due_at
