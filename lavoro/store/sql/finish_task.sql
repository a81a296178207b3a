-- Moves one running task to finished with its outcome if worker and attempt still hold it; returns a row if it did.
-- This is the short form of finish_tasks, for a task that ends alone: it takes the server a third of the time.
with done as (
    delete from {schema}.running --@delete
    where id = %(id)s::uuid
        and worker_id = %(worker_id)s --@worker
        and attempt = %(attempt)s --@attempt
    returning *
), stored as (
    insert into {schema}.finished (
        id, state, worker_id, queue, priority, attempt, retries, crashes, runtime,
        due_at, created_at, started_at,
        name, args, kwargs, options, payload,
        result, result_payload, traceback, children, keys
    )
    select
        id,
        case when %(state)s::text = 'IGNORED' then coalesce(state, %(state)s) else %(state)s end,
        worker_id, queue, priority, attempt, retries, crashes, %(runtime)s,
        due_at, created_at, started_at,
        name, args, kwargs, options, payload,
        case when %(state)s = 'IGNORED' then progress else %(result)s::json end,
        %(payload)s, %(traceback)s, %(children)s::json, keys
    from done
)
-- A process that waits for results holds this lock shared. If the lock is free, nothing is notified.
select
    case when {schema}.is_awaited('{prefix}_results') then pg_notify('{prefix}_done', id::text) end,
    case when barriers is not null or (%(state)s <> 'SUCCESS' and strpos(options::text, '"chain"') > 0) --@count
    then {schema}.count_members(array[row(
        id, case when %(state)s <> 'SUCCESS' then options->>'task_id' end, barriers,
        case when %(state)s = 'IGNORED' then coalesce(state, %(state)s) else %(state)s end,
        case when %(state)s = 'IGNORED' then progress else %(result)s::json end,
        %(payload)s, case when %(state)s <> 'SUCCESS' then options end
    )::{schema}.ending]) end,
    case when keys is not null then {schema}.free_keys(array[id], array[keys]) end,
    case when keys is not null then {schema}.give_slots(array[keys], true) end --@slots
from done
