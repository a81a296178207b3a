-- Reads tasks that calls have assigned to this worker.
select
    id, name, args, kwargs, options,
    queue, priority, attempt,
    extract(epoch from due_at) as due_at,
    cancel is not null as revoked
from {schema}.running
where id = any (%(ids)s::uuid[]) and worker_id = %(worker_id)s
