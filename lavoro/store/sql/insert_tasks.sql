-- Stores many tasks and notifies workers that sleep on their queues; an id that is stored already changes nothing.
with given as materialized (
    select * from unnest(
        %(ids)s::uuid[], %(queues)s::text[], %(priorities)s::int2[], %(retries)s::int4[],
        %(etas)s::timestamptz[], %(countdowns)s::float8[], %(expires)s::timestamptz[], %(expires_in)s::float8[],
        %(names)s::text[], %(args)s::text[], %(kwargs)s::text[], %(options)s::text[], %(payloads)s::bytea[]
    ) as x (
        id, queue, priority, retries, eta, countdown, expires_at, expires_in, name, args, kwargs, options, payload
    )
), stored as (
    insert into {schema}.waiting (
        id, queue, priority, retries,
        due_at, expires_at,
        name, args, kwargs, options, payload
    )
    select
        id, queue, priority, retries,
        greatest(coalesce(eta, clock_timestamp() + countdown * interval '1 second'), clock_timestamp()),
        coalesce(expires_at, clock_timestamp() + expires_in * interval '1 second'),
        name,
        args::json, --@arguments
        kwargs::json, options::json, payload
    from given g
    -- A repeat after a lost answer must not store a task twice. In one snapshot, a task is in one of the four tables.
    -- The unique index alone is not enough: a worker may claim the task after this snapshot.
    where not %(repeated)s or (select count(*) from {schema}.waiting w where w.id = g.id) = 0
        and (select count(*) from {schema}.running r where r.id = g.id) = 0
        and (select count(*) from {schema}.held h where h.id = g.id) = 0
        and (select count(*) from {schema}.finished f where f.id = g.id) = 0
    on conflict (id) do nothing
)
select pg_notify('{prefix}_wake', case when later then 'later:' else 'due:' end || priority || ':' || queue)
from (
    select queue, priority, bool_or(eta is not null or countdown > 0) as later from given group by queue, priority
) lane
where %(always)s or {schema}.is_awaited('{prefix}_queue:' || queue)
