-- Reads tasks that calls have claimed for this worker.
select id, name, args, kwargs, options, queue, priority, attempt, extract(epoch from due_at), cancel is not null
from {schema}.running
where id = any (%(ids)s::uuid[]) and worker_id = %(worker_id)s
