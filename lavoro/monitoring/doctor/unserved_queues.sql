-- Queues where a task is due for longer than backlog, and that no live worker serves; with the quiet ones that would.
select w.queue, count(*), extract(epoch from clock_timestamp() - min(w.due_at))::float8, (
        select array_agg(distinct l.node order by l.node) from {schema}.worker l
        where l.stopped_at is null and l.expires_at > clock_timestamp() and l.quiet and w.queue = any (l.queues)
    )
from {schema}.waiting w
where w.due_at <= clock_timestamp()
    and not exists (select from {schema}.queue q where q.name = w.queue and q.paused_at is not null)
    and not exists (select from {schema}.worker l
        where l.stopped_at is null and l.expires_at > clock_timestamp() and not l.quiet and w.queue = any (l.queues))
group by w.queue having min(w.due_at) < clock_timestamp() - %(backlog)s::float8 * interval '1 second'
order by w.queue
