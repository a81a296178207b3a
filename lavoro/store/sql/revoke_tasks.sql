-- Ends waiting tasks as REVOKED, asks the workers of running ones to, and remembers all that may start yet: ids not
-- seen so far, and running tasks, which may be retried or rescued.
with wanted as materialized (
    select distinct id from unnest(%(ids)s::uuid[]) as x (id)
), taken as (
    -- In the order of ids, here and below, as finishing does: two statements never wait for each other.
    delete from lavoro.waiting w where w.ctid = any (array(
        select ctid from lavoro.waiting where id = any (%(ids)s::uuid[]) order by id for update)) returning w.*
), ended as (
    insert into lavoro.finished (id, state, queue, priority, attempt, retries, crashes, due, created, name,
        args, kwargs, options, payload, result)
    select id, 'REVOKED', queue, priority, attempt, retries, crashes, due, created, name, args, kwargs, options, payload,
        '{"exc_type":"TaskRevokedError","exc_module":"lavoro.exceptions","exc_message":["revoked"]}'
    from taken
    returning id
), asked as (
    update lavoro.running r set cancel = %(cancel)s where r.ctid = any (array(
        select ctid from lavoro.running where id = any (%(ids)s::uuid[]) order by id for update)) returning r.id, r.worker_id
), remembered as (
    insert into lavoro.revoked (id)
    select id from wanted
    where id not in (select id from ended)
        and (select count(*) from lavoro.finished f where f.id = wanted.id) = 0  -- an index look-up each, never a join
    on conflict (id) do nothing
)
select 'ended' as fate, id, null::bigint as worker_id, pg_notify('lavoro_done', id::text) from ended
union all
select 'asked', id, worker_id, pg_notify('lavoro_wake', 'x' || worker_id || ':' || id) from asked
