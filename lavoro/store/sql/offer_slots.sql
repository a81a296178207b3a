-- Offers `counts` slots on each queue for so many seconds; stores nothing for a worker whose lease has ended.
insert into {schema}.offer (queue, until, worker_id)
select o.queue, clock_timestamp() + %(seconds)s::float8 * interval '1 second', %(worker_id)s
from unnest(%(queues)s::text[], %(counts)s::int4[]) as o (queue, count)
cross join generate_series(1, o.count)
where exists (
    select from {schema}.worker w where w.id = %(worker_id)s and w.live
    -- The statement that ends the lease waits for this lock, and then withdraws the offers.
    for share
)
