-- Tasks that are there for longer than backlog, on a queue that live workers serve, and that none of these has.
with live as materialized (
    select unnest(queues) as queue, tasks from {schema}.worker
    where stopped_at is null and expires_at > clock_timestamp() and not quiet
), called as (
    select queue, name, count(*) as tasks, min(created_at) as since from {schema}.waiting group by queue, name
)
select c.name, c.queue, c.tasks
from called c
where c.since < clock_timestamp() - %(backlog)s::float8 * interval '1 second' and not starts_with(c.name, 'celery.')
    and exists (select from live l where l.queue = c.queue)
    and not exists (select from live l where l.queue = c.queue and (cardinality(l.tasks) = 0 or c.name = any (l.tasks)))
order by c.name, c.queue
