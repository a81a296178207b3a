-- Ends waiting tasks as REVOKED, cancels running ones, and remembers ids that may start later.
-- These are unknown ids and running tasks, which a retry or a rescue may start again.
with wanted as materialized (
    select distinct id from unnest(%(ids)s::uuid[]) as x (id)
), taken as (
    -- Rows are locked in the order of ids, here and below, as in finish_tasks: so no two statements deadlock.
    delete from {schema}.waiting w
    where w.ctid = any (array(
        select ctid from {schema}.waiting where id = any (%(ids)s::uuid[]) order by id for update))
    returning w.*
), ended as (
    insert into {schema}.finished (
        id, state, queue, priority, attempt, retries, crashes,
        due_at, created_at,
        name, args, kwargs, options, payload,
        result, keys
    )
    select
        id, 'REVOKED', queue, priority, attempt, retries, crashes,
        due_at, created_at,
        name, args, kwargs, options, payload,
        '{"exc_type":"TaskRevokedError","exc_module":"lavoro.exceptions","exc_message":["revoked"]}', keys
    from taken --@outcome
    returning id, result
), counted as materialized (
    select {schema}.count_members(array_agg(row(
        t.id, t.options->>'task_id', t.barriers, 'REVOKED', e.result, null, t.options
    )::{schema}.ending)) as number
    from ended e join taken t on t.id = e.id
    where t.barriers is not null or strpos(t.options::text, '"chain"') > 0 --@count
), asked as (
    update {schema}.running r set cancel = %(cancel)s
    where r.ctid = any (array(
        select ctid from {schema}.running where id = any (%(ids)s::uuid[]) order by id for update))
    returning r.id, r.worker_id
), remembered as (
    insert into {schema}.revoked (id)
    select id from wanted
    where id not in (select id from ended)
        -- One index look-up for each id, never a join.
        and (select count(*) from {schema}.finished f where f.id = wanted.id) = 0
    on conflict (id) do nothing
), freed as materialized (
    select
        {schema}.free_keys(array_agg(id), array_agg(keys)) as keys,
        {schema}.give_slots(array_agg(keys), false) as slots
    from taken where keys is not null
), told as materialized (
    -- Many ids in one notification, which has 8,000 bytes.
    select count(pg_notify('{prefix}_done', page.ids)) from (
        select string_agg(n.id::text, ',') as ids
        from (select id, row_number() over () / 200 as page from ended) n group by n.page
    ) page
)
select 'ended' as fate, id, null::bigint as worker_id, null as told
from ended cross join counted cross join freed cross join told
union all
select 'asked', id, worker_id, pg_notify('{prefix}_wake', 'cancel:' || worker_id || ':' || id)::text from asked
