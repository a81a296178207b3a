-- Ends waiting tasks as REVOKED, asks the workers of running ones to, and remembers all that may start yet: ids not
-- seen so far, and running tasks, which may be retried or rescued.
with wanted as materialized (
    select distinct id from unnest(%(ids)s::uuid[]) as x (id)
), taken as (
    -- In the order of ids, here and below, as finishing does: two statements never wait for each other.
    delete from {schema}.waiting w where w.ctid = any (array(
        select ctid from {schema}.waiting where id = any (%(ids)s::uuid[]) order by id for update)) returning w.*
), ended as (
    insert into {schema}.finished (id, state, queue, priority, attempt, retries, crashes, due_at, created_at, name,
        args, kwargs, options, payload, result)
    select id, 'REVOKED', queue, priority, attempt, retries, crashes, due_at, created_at, name, args, kwargs, options, payload,
        '{"exc_type":"TaskRevokedError","exc_module":"lavoro.exceptions","exc_message":["revoked"]}'
    from taken --@outcome
    returning id
), asked as (
    update {schema}.running r set cancel = %(cancel)s where r.ctid = any (array(
        select ctid from {schema}.running where id = any (%(ids)s::uuid[]) order by id for update)) returning r.id, r.worker_id
), remembered as (
    insert into {schema}.revoked (id)
    select id from wanted
    where id not in (select id from ended)
        and (select count(*) from {schema}.finished f where f.id = wanted.id) = 0  -- an index look-up each, never a join
    on conflict (id) do nothing
)
select 'ended' as fate, id, null::bigint as worker_id, pg_notify('{prefix}_done', id::text) from ended
union all
select 'asked', id, worker_id, pg_notify('{prefix}_wake', 'cancel:' || worker_id || ':' || id) from asked
