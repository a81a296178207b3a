-- Does what finish_and_follow does for one task that has succeeded, and that one plain task follows, its heir.
-- With `start` the next task begins in this worker at once if a worker sleeps on its queue: the answer has the time.
-- Then the caller tells of the end by tell_ended: a notification with each link would take a tenth of its time.
-- Finds no row of a task whose barriers have marks of single steps: these are handed on by the long form.
with done as (
    delete from {schema}.running --@delete
    where id = %(id)s::uuid
        and worker_id = %(worker_id)s --@worker
        and attempt = %(attempt)s --@attempt
        and (barriers is null or not jsonb_path_exists(barriers, '$.*.*'))
    returning *
), stored as (
    insert into {schema}.finished (
        id, state, worker_id, queue, priority, attempt, retries, crashes, runtime,
        due_at, created_at, started_at,
        name, args, kwargs, options, payload,
        result, result_payload, traceback, children, keys
    )
    select
        id, 'SUCCESS', worker_id, queue, priority, attempt, retries, crashes, %(runtime)s,
        due_at, created_at, started_at,
        name, args, kwargs, options, payload,
        %(result)s::json, %(payload)s, null, %(children)s::json, keys
    from done
), heir as materialized (
    select
        %(next_id)s::uuid as id, %(queue)s::text as queue, %(priority)s::int2 as priority, clock_timestamp() as now,
        %(name)s::text as name, %(args)s::json as args, %(kwargs)s::json as kwargs, %(options)s::json as options,
        barriers --@inherited
    from done
), begun as (
    insert into {schema}.running (
        id, worker_id, queue, priority, attempt, retries, crashes,
        due_at, created_at,
        name, args, kwargs, options, barriers
    )
    select
        h.id, %(worker_id)s, h.queue, h.priority, 1, 0, 0,
        h.now, h.now,
        h.name, h.args, h.kwargs, h.options, h.barriers
    from heir h
    where %(start)s::boolean
        -- The conditions of a claim, and no task of this id waits.
        and exists (select from {schema}.worker me where me.id = %(worker_id)s and me.live)
        and not exists (select from {schema}.queue q where q.name = h.queue and q.paused_at is not null)
        and not exists (select from {schema}.revoked r where r.id = h.id)
        and not exists (select from {schema}.waiting w where w.id = h.id)
        and {schema}.is_awaited('{prefix}_queue:' || h.queue)
    returning due_at
)
select
    extract(epoch from (select due_at from begun)),
    -- A process that waits for results holds this lock shared. If the lock is free, nothing is notified.
    case when not %(start)s and {schema}.is_awaited('{prefix}_results') then pg_notify('{prefix}_done', d.id::text) end,
    case when not exists (select from begun) then {schema}.admit(array[row(
        h.id, h.queue, h.priority, 0, 0, 0,
        h.now, h.now, null,
        h.name, h.args, h.kwargs, h.options, null, null, h.barriers, null
    )::{schema}.waiting], true, false) end,
    case when d.keys is not null then {schema}.free_keys(array[d.id], array[d.keys]) end,
    case when d.keys is not null then {schema}.give_slots(array[d.keys], true) end
from done d cross join heir h
