-- Counts what waits on queues when workers end: due, for later, or paused; and the failures among their tasks.
select
    count(*) filter (where not paused and due_at <= clock_timestamp()),
    count(*) filter (where not paused and due_at > clock_timestamp()),
    count(*) filter (where paused),
    (
        select count(*) from {schema}.finished f
        where f.state in ('FAILURE', 'REJECTED') and f.worker_id = any (%(ids)s::bigint[])
            -- So that only the partitions of that time are read.
            and f.finished_at >= (select min(w.started_at) from {schema}.worker w where w.id = any (%(ids)s::bigint[]))
    )
from (
    select w.due_at, exists (
        select from {schema}.queue q where q.name = w.queue and q.paused_at is not null
    ) as paused
    from {schema}.waiting w where w.queue = any (%(queues)s::text[])
) w
