-- Ends waiting tasks as REVOKED, asks the workers of running ones to, and remembers ids that were not seen yet.
with wanted as materialized (
    select distinct id from unnest(%(ids)s::uuid[]) as x (id)
), taken as (
    delete from lavoro.waiting w where w.id = any (%(ids)s::uuid[]) returning w.*
), ended as (
    insert into lavoro.finished (id, state, queue, priority, attempt, retries, crashes, due, created, name,
        args, kwargs, options, payload, result)
    select id, 'REVOKED', queue, priority, attempt, retries, crashes, due, created, name, args, kwargs, options, payload,
        '{"exc_type":"TaskRevokedError","exc_module":"lavoro.errors","exc_message":["revoked"]}'
    from taken
    returning id
), asked as (
    update lavoro.running r set cancel = %(cancel)s where r.id = any (%(ids)s::uuid[]) returning r.id, r.worker_id
), remembered as (
    insert into lavoro.revoked (id)
    select id from wanted
    where id not in (select id from ended) and id not in (select id from asked)
        and not exists (select from lavoro.finished f where f.id = wanted.id)
    on conflict (id) do nothing
)
select 'ended' as fate, id, null::bigint as worker_id, pg_notify('lavoro_done', id::text) from ended
union all
select 'asked', id, worker_id, pg_notify('lavoro_wake', 'x' || worker_id || ':' || id) from asked
