-- Offers to take so many tasks of each queue at once, until so many seconds from now; nothing for a worker that was ended.
insert into {schema}.offer (queue, until, worker_id)
select o.queue, clock_timestamp() + %(seconds)s::float8 * interval '1 second', %(worker_id)s
from unnest(%(queues)s::text[], %(counts)s::int4[]) as o (queue, count) cross join generate_series(1, o.count)
where exists (
    select from {schema}.worker w where w.id = %(worker_id)s and coalesce(w.stopped_at, 'infinity') = 'infinity'
    for share  -- who ends it waits for this, and withdraws it then
)
