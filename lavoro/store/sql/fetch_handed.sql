-- Reads tasks that calls have claimed for this worker, as a claim would have returned them.
select id, name, args::text, kwargs::text, options::text, payload, queue, priority, attempt, retries, crashes,
    due, null::timestamptz, false, false
from lavoro.running
where id = any (%(ids)s::uuid[]) and worker_id = %(worker_id)s
order by priority desc, due
