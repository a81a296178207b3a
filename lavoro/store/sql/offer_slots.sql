-- Offers to take so many tasks of each queue at once, until so many seconds from now.
insert into lavoro.offer (queue, until, worker_id)
select o.queue, clock_timestamp() + %(seconds)s::float8 * interval '1 second', %(worker_id)s
from unnest(%(queues)s::text[], %(counts)s::int4[]) as o (queue, count) cross join generate_series(1, o.count)
