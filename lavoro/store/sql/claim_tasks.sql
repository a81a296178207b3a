-- Moves up to `limit` due tasks of the lanes (best lane first) from waiting to running; no task goes to two claimers.
with picked as materialized (
    select w.tid
    from unnest(%(queues)s::text[], %(priorities)s::int2[], %(bounds)s::timestamptz[]) as lane (queue, priority, bound)
    cross join lateral (
        -- statement_timestamp() is stable, so both ends of the range are index conditions: future tasks are never read.
        select w.ctid as tid from lavoro.waiting w
        where w.queue = lane.queue and w.priority = lane.priority
            and w.due >= lane.bound and w.due <= statement_timestamp()
        order by w.due limit %(limit)s for update skip locked
    ) w
    limit %(limit)s
), taken as (
    delete from lavoro.waiting w where w.ctid = any (array(select tid from picked)) returning w.*
), held as (
    insert into lavoro.running (id, worker_id, queue, priority, attempt, retries, crashes, due, created, expires, name,
        args, kwargs, options, payload)
    select id, %(worker_id)s, queue, priority, attempt + 1, retries, crashes, due, created, expires, name,
        args, kwargs, options, payload
    from taken
)
select id, name, args::text, kwargs::text, options::text, payload, queue, priority, (attempt + 1)::int2, retries, crashes,
    due, expires, coalesce(expires <= statement_timestamp(), false),
    exists (select from lavoro.revoked) and id in (select v.id from lavoro.revoked v)
from taken order by priority desc, due
