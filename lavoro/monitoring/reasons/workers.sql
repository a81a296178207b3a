-- Live workers that serve a queue: whether they are quiet, their slots, the tasks they have, and whether they know one.
select w.node, w.quiet, w.slots, (select count(*) from {schema}.running r where r.worker_id = w.id),
    w.tasks = '{}' or starts_with(%(task)s::text, 'celery.') or %(task)s::text = any (w.tasks)
from {schema}.worker w
where w.stopped_at is null and w.expires_at > clock_timestamp() and %(queue)s::text = any (w.queues)
order by w.node, w.process
