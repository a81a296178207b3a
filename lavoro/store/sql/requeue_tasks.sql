-- Moves running tasks back to waiting if worker and attempt still hold them: retried, rejected, postponed or released.
-- With a state, the start is recorded in `attempt`; without one, the start is not counted.
with given as materialized (
    select * from unnest(
        %(ids)s::uuid[], %(attempts)s::int4[], %(states)s::text[], %(retries)s::int4[],
        %(etas)s::timestamptz[], %(countdowns)s::float8[], %(queues)s::text[],
        %(args)s::text[], %(kwargs)s::text[], %(options)s::text[], %(payloads)s::bytea[],
        %(reasons)s::text[], %(errors)s::text[], %(tracebacks)s::text[],
        %(longest)s::float8[], %(priorities)s::int2[], %(expires)s::timestamptz[], %(expires_in)s::float8[]
    ) as x (
        id, attempt, state, retries, eta, countdown, queue, args, kwargs, options, payload, reason, error, traceback,
        longest, priority, expires_at, expires_in
    )
), held as materialized (
    select r.ctid as tid, r.id, r.attempt from {schema}.running r
    where r.id = any (%(ids)s::uuid[]) and r.worker_id = %(worker_id)s order by r.id for update
), requeued as (
    delete from {schema}.running r
    where r.ctid = any (array(select h.tid from held h join given g on g.id = h.id and g.attempt = h.attempt))
    returning r.*
), noted as (
    insert into {schema}.attempt (id, number, worker_id, state, started_at, reason, error, traceback)
    select r.id, r.attempt, r.worker_id, g.state, r.started_at, g.reason, g.error::json, g.traceback
    from requeued r join given g on g.id = r.id
    where g.state is not null --@record
), stored as (
    insert into {schema}.waiting (
        id, queue, priority, attempt, retries, crashes,
        due_at, created_at, expires_at,
        name, args, kwargs, options, payload, reason, keys, barriers
    )
    select
        r.id, coalesce(g.queue, r.queue), coalesce(g.priority, r.priority),
        r.attempt - (g.state is null)::int, coalesce(g.retries, r.retries), r.crashes,
        case
            -- The task keeps its place in the queue. A running task was due: a later time than now means that the clock
            -- was set back.
            when g.eta is null and g.countdown is null then least(r.due_at, clock_timestamp())
            else greatest(clock_timestamp(), coalesce(g.eta, clock_timestamp() + interval '1 second' * case
                when g.longest is null then g.countdown
                -- As long as the task has existed, so that each pause is twice as long as the one before.
                else least(greatest(g.countdown, extract(epoch from clock_timestamp() - r.created_at)), g.longest)
            end))
        end,
        least(r.created_at, clock_timestamp()),
        coalesce(g.expires_at, clock_timestamp() + g.expires_in * interval '1 second', r.expires_at),
        r.name,
        case when g.args is null and g.payload is null then r.args else g.args::json end,
        case when g.args is null and g.payload is null then r.kwargs else g.kwargs::json end,
        coalesce(g.options::json, r.options),
        coalesce(g.payload, case when g.args is null then r.payload end),
        g.reason,
        r.keys,
        r.barriers --@kept
    from requeued r join given g
    on g.id = r.id --@requeue
    -- A call may have reused the id meanwhile: one of the two tasks is enough.
    on conflict (id) do update set barriers = coalesce(waiting.barriers, '{}') || excluded.barriers
    where excluded.barriers is not null
    returning queue
), woken as (
    -- "back" makes claimers scan below their lower bounds: a requeued task may be older than their last claim.
    select count(pg_notify('{prefix}_wake', 'back:' || q.queue)) from (select distinct queue from stored) q
)
select
    count(*),
    (select * from woken),
    {schema}.give_slots((select array_agg(keys) from requeued where keys is not null), true) --@slots
from requeued
